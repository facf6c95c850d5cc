"""``wharfinger audit verify``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress as Bar

from wharfinger_daemon import config
from wharfinger_daemon.audit.checkpoint import CheckpointError, LogKey, parse_vkey, read_checkpoint, verify_with_any
from wharfinger_daemon.audit.checkpointer import KEPT_CHECKPOINT
from wharfinger_daemon.audit.verification import Findings, Progress, StatedRoot, verify_log
from wharfinger_daemon.cli.audit.exporting import Exported
from wharfinger_daemon.cli.program import (
    EXIT_FOUND_SOMETHING,
    config_option,
    configuration_file,
    json_option,
    print_json,
)
from wharfinger_daemon.cli.report import harmless
from wharfinger_daemon.storage.audit_reading import AuditReading, read_audit


@dataclass(frozen=True)
class _Vouching:
    """Checkpoints, each with its signature checked if there is a key."""

    keys: Sequence[LogKey]
    findings: Findings

    def stated(self, source: str, note: bytes) -> Iterator[StatedRoot]:
        """What a note vouches for; nothing, and a problem, if it cannot be relied on."""
        try:
            checkpoint = verify_with_any(self.keys, note) if self.keys else read_checkpoint(note)
        except CheckpointError as error:
            self.findings.add(source, str(error))
            return
        yield StatedRoot(source, checkpoint.size, checkpoint.root)


@click.command()
@click.option(
    "--checkpoint",
    "kept",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A checkpoint that you have kept: the log must still begin with what it vouches for. May be repeated.",
)
@click.option(
    "--vkey",
    "vkeys",
    multiple=True,
    help="The log's verifier key, as 'audit show --vkey' prints it. Keep it where the log is not. May be repeated.",
)
@click.option(
    "--export",
    "exported",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check an exported log instead of the database. The ledger cannot be compared then.",
)
@config_option
@json_option
def verify(
    kept: tuple[Path, ...],
    vkeys: tuple[str, ...],
    exported: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Check the whole audit log, and the ledger against it. Ends with status 1 if anything was changed.

    Finds every row that was edited, removed, added or put elsewhere, except for what came after the newest checkpoint
    and was taken away from log and ledger alike. Without --vkey the signatures of checkpoints are not checked: whoever
    can write the database could have made others.
    """
    try:
        keys = [parse_vkey(vkey) for vkey in vkeys]
    except CheckpointError as error:
        raise click.BadParameter(str(error), param_hint="--vkey") from error
    early = Findings()
    vouching = _Vouching(keys, early)
    roots = [root for path in kept for root in vouching.stated(f"checkpoint file {path}", path.read_bytes())]
    with _progress(as_json) as told:
        if exported is None:
            settings = config.load(configuration_file(config_path))
            outside = settings.state_directory / KEPT_CHECKPOINT
            if outside.exists():
                roots += vouching.stated(f"checkpoint file {outside}", outside.read_bytes())
            with read_audit(settings.database) as reading:
                findings = _of_database(reading, vouching, roots, told)
        else:
            findings = _of_export(Exported(exported, []), vouching, roots, told)
    findings.problems[:0] = early.problems
    covered = max((root.size for root in roots if root.size <= findings.size), default=0)
    _report(findings, covered, bool(keys), as_json)
    if findings.problems:
        sys.exit(EXIT_FOUND_SOMETHING)


def _of_database(reading: AuditReading, vouching: _Vouching, roots: list[StatedRoot], told: Progress) -> Findings:
    for size, root, note in reading.checkpoints():
        for stated in vouching.stated(f"checkpoint {size}", note):
            roots.append(stated)
            if (stated.size, stated.root) != (size, root):
                vouching.findings.add(f"checkpoint {size}", "its row and its note say different things")
    if len(reading.origins()) > 1:
        vouching.findings.add("the log", f"it was begun {len(reading.origins())} times")
    findings = verify_log(reading.leaves(), roots, reading.nodes(), reading.ledger(), told)
    reading.check_ledger(findings)
    return findings


def _of_export(exported: Exported, vouching: _Vouching, roots: list[StatedRoot], told: Progress) -> Findings:
    for _ in exported.leaves():
        pass  # The checkpoints stand behind the leaves.
    notes = list(exported.checkpoints)
    roots += [root for size, note in notes for root in vouching.stated(f"checkpoint {size}", note)]
    return verify_log(exported.leaves(), roots, told=told)


def _report(findings: Findings, covered: int, with_keys: bool, as_json: bool) -> None:
    if as_json:
        problems = [{"place": problem.place, "what": problem.what} for problem in findings.problems]
        print_json(
            {
                "leaves": findings.size,
                "root": findings.root.hex(),
                "covered": covered,
                "signatures_verified": with_keys,
                "problems": problems,
            }
        )
        return
    for problem in findings.problems:
        click.echo(harmless(f"{problem.place}: {problem.what}"))
    signatures = "" if with_keys else " The signatures of checkpoints were not checked: name --vkey."
    outcome = f"{len(findings.problems)} problems" if findings.problems else "nothing was changed"
    vouched = f"checkpoints vouch for {covered} of them" if covered else "no checkpoint vouches for any of them"
    click.echo(f"{findings.size} leaves: {outcome}; {vouched}.{signatures}", err=True)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    with Bar(console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("Checking leaves", total=None)
        yield lambda done: bar.update(task, completed=done)
