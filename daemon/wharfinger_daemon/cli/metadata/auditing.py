"""``wharfinger metadata digest`` and ``audit-diff``: snapshots for auditors."""

from __future__ import annotations

import sys
from typing import Any

import click

from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, EXIT_FOUND_SOMETHING, json_option, print_json
from wharfinger_daemon.cli.verify_repository import harmless
from wharfinger_daemon.metadata.verification.snapshots import (
    NamedSnapshot,
    SnapshotUnreadableError,
    compare,
    digest_of,
    digests,
    open_snapshot,
)
from wharfinger_daemon.storage.repository_files import open_repository

_VERSION = click.IntRange(1)


@click.command()
@click.argument("location")
@click.option("--version", type=_VERSION, help="Of the snapshot; by default, the one that the timestamp names.")
@json_option
def digest(location: str, version: int | None, as_json: bool) -> None:
    """Print the SHA-256 of every file of a snapshot, and one of them all.

    LOCATION is a directory or a URL. Nothing is verified: verify-repository does that.
    """
    try:
        snapshot = _open(location, version)
        by_name = digests(snapshot)
    except SnapshotUnreadableError as error:
        _fail(error)
        return
    if as_json:
        print_json({"snapshot": snapshot.version, "sha256": digest_of(by_name), "files": by_name})
        return
    for name, value in by_name.items():
        click.echo(f"{value}  {harmless(name)}")
    click.echo(f"{digest_of(by_name)}  snapshot {snapshot.version}")


@click.command("audit-diff")
@click.argument("old")
@click.argument("new")
@click.option("--old-version", type=_VERSION, help="Of the snapshot at OLD; by default, its timestamp's.")
@click.option("--new-version", type=_VERSION, help="Of the snapshot at NEW; by default, its timestamp's.")
@json_option
def audit_diff(old: str, new: str, old_version: int | None, new_version: int | None, as_json: bool) -> None:
    """Show which roles and targets differ between two snapshots.

    OLD and NEW are directories or URLs, and may be the same. Ends with status 1 if anything differs, as diff does.
    Nothing is verified: verify-repository does that.
    """
    try:
        before, after = _open(old, old_version), _open(new, new_version)
        found = compare(before, after)
    except SnapshotUnreadableError as error:
        _fail(error)
        return
    targets = list(found.changes())
    if as_json:
        roles = {role: {"old": one, "new": other} for role, (one, other) in found.roles.items()}
        changed = [{"path": path, "old": one, "new": other} for path, one, other in targets]
        print_json({"old": before.version, "new": after.version, "roles": roles, "targets": changed})
    else:
        _show(found.roles, targets)
    if found.roles or before.version != after.version:
        sys.exit(EXIT_FOUND_SOMETHING)


def _show(roles: dict[str, tuple[int | None, int | None]], targets: list[tuple[str, Any, Any]]) -> None:
    for role, (one, other) in roles.items():
        click.echo(harmless(f"role {role}: {one or 'none'} -> {other or 'none'}"))
    for path, before, after in targets:
        if before is not None:
            click.echo(harmless(f"- {path} {_entry(before)}"))
        if after is not None:
            click.echo(harmless(f"+ {path} {_entry(after)}"))
    click.echo(f"{len(roles)} roles and {len(targets)} targets differ.")


def _entry(entry: Any) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("hashes"), dict):
        return str(entry)[:200]
    hashes = " ".join(f"{algorithm}:{value}" for algorithm, value in sorted(entry["hashes"].items()))
    return f"{entry.get('length')} {hashes}"


def _open(location: str, version: int | None) -> NamedSnapshot:
    try:
        return open_snapshot(open_repository(location), version)
    except SnapshotUnreadableError as error:
        raise SnapshotUnreadableError(f"{location}: {error}") from error


def _fail(error: SnapshotUnreadableError) -> None:
    click.echo(f"wharfinger: {harmless(str(error))}", err=True)
    sys.exit(EXIT_COULD_NOT_RUN)
