"""``wharfinger verify-repository``."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, EXIT_FOUND_SOMETHING, json_option, print_json
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.metadata.verification.bins import BinsJob, BinsOutcome, BinVerifier
from wharfinger_daemon.metadata.verification.documents import DocumentReader
from wharfinger_daemon.metadata.verification.findings import Finding, Report, Severity
from wharfinger_daemon.metadata.verification.history import compare
from wharfinger_daemon.metadata.verification.walk import RepositoryWalk, TrustedRoot
from wharfinger_daemon.storage.repository_files import open_repository

_BINS_AT_ONCE = 64
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


@click.command(name="verify-repository")
@click.argument("location", metavar="URL|DIRECTORY")
@click.option(
    "--root",
    "root_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A trusted root, of any version. Without one, 1.root.json is believed, and that is said.",
)
@click.option("--root-sha256", default="", metavar="HEX", help="In its place: the SHA-256 of 1.root.json.")
@click.option(
    "--previous",
    metavar="URL|DIRECTORY",
    help="An earlier copy: nothing may be older than there, or other in one version.",
)
@click.option(
    "--headroom-hours",
    type=click.FloatRange(min=0),
    default=6.0,
    show_default=True,
    help="Warn of what expires sooner than that.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=max(1, len(os.sched_getaffinity(0))),
    show_default="one for each core",
    help="That verify bins.",
)
@json_option
def verify_repository(
    location: str,
    root_file: Path | None,
    root_sha256: str,
    previous: str | None,
    headroom_hours: float,
    processes: int,
    as_json: bool,
) -> None:
    """Verify a whole TUF repository: what its clients would refuse, and what they would not see.

    Every root, timestamp, snapshot, targets, and everything it delegates to: signatures and thresholds, versions,
    canonical bytes, sizes within the limits of clients, targets in the bin where clients look for them, expiry, and
    with --previous that nothing went back. Prints FILE: severity: RULE: message.

    Ends with status 0 if there is no error, 1 if there is one, 2 if it could not run.
    """
    trusted = TrustedRoot(None if root_file is None else root_file.read_bytes(), root_sha256.lower())
    verification = _Verification(trusted, timedelta(hours=headroom_hours), processes)
    report = verification.run(location)
    if previous is not None:
        before = verification.run(previous)
        if not before.versions:
            click.echo(f"wharfinger: {previous} cannot be compared with: its root is not trusted.", err=True)
            sys.exit(EXIT_COULD_NOT_RUN)
        compare(before, report)
    _tell(location, report, as_json=as_json)
    sys.exit(EXIT_FOUND_SOMETHING if report.count(Severity.ERROR) else 0)


@dataclass(frozen=True)
class _Verification:
    trusted: TrustedRoot
    headroom: timedelta
    processes: int

    def run(self, location: str) -> Report:
        """Verifies one repository, with a bar on a terminal."""
        files, report = open_repository(location), Report()
        reader = DocumentReader(files, report, SystemClock().now(), self.headroom)

        def verify_bins(job: BinsJob, versions: Mapping[str, int]) -> Iterator[BinsOutcome]:
            parts = list(_parts(versions))
            done = self._in_processes(location, job, parts) if len(parts) > 1 else _here(location, job, parts)
            console = Console(stderr=True)
            return iter(
                track(
                    done,
                    description="Verifying bins",
                    total=len(parts),
                    console=console,
                    disable=not console.is_terminal,
                )
            )

        RepositoryWalk(reader, self.trusted, verify_bins).run()
        return report

    def _in_processes(self, location: str, job: BinsJob, parts: Sequence[Mapping[str, int]]) -> Iterator[BinsOutcome]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.processes, context, _begin, (location, job)) as pool:
            try:
                yield from pool.map(_verify_part, parts)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


_verifier: BinVerifier | None = None  # Of this process, which verifies bins of one repository and nothing else.


def _begin(location: str, job: BinsJob) -> None:
    global _verifier
    _verifier = BinVerifier(job, open_repository(location))


def _verify_part(versions: Mapping[str, int]) -> BinsOutcome:
    assert _verifier is not None  # ``_begin`` came first.
    return _verifier.verify(versions)


def _here(location: str, job: BinsJob, parts: Sequence[Mapping[str, int]]) -> Iterator[BinsOutcome]:
    verifier = BinVerifier(job, open_repository(location))
    yield from map(verifier.verify, parts)


def _parts(versions: Mapping[str, int]) -> Iterator[dict[str, int]]:
    remaining = iter(versions.items())
    while part := dict(islice(remaining, _BINS_AT_ONCE)):
        yield part


def _tell(location: str, report: Report, *, as_json: bool) -> None:
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    if as_json:
        print_json(
            {
                "location": location,
                "errors": errors,
                "warnings": warnings,
                "files": len(report.digests),
                "targets": report.targets,
                "versions": {role: report.versions.get(role) for role in ("root", "timestamp", "snapshot")},
                "findings": [vars(one) for one in report.findings],
            }
        )
        return
    for finding in report.findings:
        click.echo(_line(finding))
    timestamp = report.versions.get("timestamp")
    click.echo(
        f"{len(report.digests):,} files and {report.targets:,} targets verified"
        f"{f', up to timestamp {timestamp}' if timestamp else ''}: {errors} errors, {warnings} warnings."
    )


def harmless(text: str) -> str:
    """Text of a repository, fit for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text.encode("ascii", "backslashreplace").decode())


def _line(finding: Finding) -> str:
    severity = click.style(finding.severity.value, fg=_COLOURS[finding.severity])
    return f"{harmless(finding.file)}: {severity}: {finding.rule.value}: {harmless(finding.message)}"
