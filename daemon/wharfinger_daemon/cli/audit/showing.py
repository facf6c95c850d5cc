"""``wharfinger audit show``."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click

from wharfinger_daemon import config
from wharfinger_daemon.audit.checkpoint import LogKey
from wharfinger_daemon.audit.verification import StoredLeaf
from wharfinger_daemon.cli.program import config_option, configuration_file, json_option, print_json
from wharfinger_daemon.cli.report import harmless
from wharfinger_daemon.config import Settings
from wharfinger_daemon.custody.opening import open_token, startup_errors
from wharfinger_daemon.errors import NotFoundError, Reason
from wharfinger_daemon.storage.audit_reading import AuditReading, read_audit


@click.command()
@click.argument("index", type=click.IntRange(min=0), required=False)
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many of the newest.")
@click.option("--role", help="Only signatures of this role.")
@click.option("--version", type=click.IntRange(min=1), help="Only signatures of this version.")
@click.option("--checkpoint", "as_checkpoint", is_flag=True, help="Show the newest checkpoint, to be kept elsewhere.")
@click.option("--vkey", "as_vkey", is_flag=True, help="Show the log's verifier key. Asks the token for it.")
@config_option
@json_option
def show(
    index: int | None,
    last: int,
    role: str | None,
    version: int | None,
    as_checkpoint: bool,
    as_vkey: bool,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Show the newest leaves of the audit log, the one with INDEX, or what vouches for it."""
    settings = config.load(configuration_file(config_path))
    with read_audit(settings.database) as reading:
        if as_vkey:
            _show_text("vkey", _vkey(settings, reading), as_json)
        elif as_checkpoint:
            _show_text("checkpoint", _newest_note(reading), as_json)
        else:
            for leaf in _chosen(reading, index, last, role, version):
                _show_leaf(leaf, as_json)


def _chosen(
    reading: AuditReading, index: int | None, last: int, role: str | None, version: int | None
) -> Iterator[StoredLeaf]:
    if index is not None:
        leaf = next(reading.leaves(index), None)
        if leaf is None or leaf.index != index:
            raise NotFoundError(f"The log has no leaf {index}.", reason=Reason.LEAF_NOT_FOUND)
        yield leaf
        return
    if role is None and version is None:
        yield from reading.leaves(max(0, reading.size() - last))
        return
    yield from deque((leaf for leaf in reading.leaves() if _fits(leaf, role, version)), maxlen=last)


def _fits(leaf: StoredLeaf, role: str | None, version: int | None) -> bool:
    try:
        said = json.loads(leaf.data)
    except ValueError:
        return False
    return role in (None, said.get("role")) and version in (None, said.get("version"))


def _show_leaf(leaf: StoredLeaf, as_json: bool) -> None:
    if as_json:
        print_json({"index": leaf.index, "hash": leaf.hash.hex(), "leaf": leaf.data.decode("utf-8", errors="replace")})
    else:
        click.echo(f"{leaf.index:>8}  {harmless(leaf.data.decode('utf-8', errors='replace'))}")


def _show_text(name: str, text: str, as_json: bool) -> None:
    if as_json:
        print_json({name: text})
    else:
        click.echo(text, nl=not text.endswith("\n"))


def _newest_note(reading: AuditReading) -> str:
    notes = deque((note for _, _, note in reading.checkpoints()), maxlen=1)
    if not notes:
        raise NotFoundError(
            "No checkpoint was signed yet. The daemon signs one a moment after it has started.",
            reason=Reason.CHECKPOINT_NOT_FOUND,
        )
    return notes[0].decode("utf-8", errors="replace")


def _vkey(settings: Settings, reading: AuditReading) -> str:
    origins = reading.origins()
    if not origins or settings.hsm is None:
        raise NotFoundError(
            "There is no log yet, or no token in the configuration. Start the daemon once, and ask on its host.",
            reason=Reason.CHECKPOINT_NOT_FOUND,
        )
    return LogKey(origins[0], asyncio.run(_public_key(settings))).vkey


async def _public_key(settings: Settings) -> bytes:
    assert settings.hsm is not None  # As above.
    async with open_token(settings.hsm, settings.state_directory) as token:
        with startup_errors():
            named = [key.public_key for key in await token.keys() if key.label == settings.audit.key_label]
    if len(named) != 1:
        raise NotFoundError(
            f"The token has {len(named)} keys with the label '{settings.audit.key_label}', and there should be one.",
            reason=Reason.KEY_NOT_FOUND,
        )
    return named[0]
