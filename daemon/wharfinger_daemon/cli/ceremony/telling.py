"""What the commands of a ceremony say of it, in words and as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from wharfinger_daemon.ceremony.changes import called, describe, moment
from wharfinger_daemon.ceremony.record import grouped
from wharfinger_daemon.ceremony.signatures import Collected, QuorumState, states
from wharfinger_daemon.ceremony.staging import CONTENT, Staged
from wharfinger_daemon.ceremony.warnings import warnings
from wharfinger_daemon.cli.report import harmless


def tell_staged(staged: Staged, now: datetime, *, err: bool = False) -> None:
    """What is going to be signed: what it changes, who must sign, and its digests."""
    lines = [
        f"{staged.name}, expires at {moment(staged.signed.expires)}",
        "",
        *describe(staged.kind, staged.signed, staged.chain, staged.record.names),
        "",
        *(f"WARNING: {warning}" for warning in warnings(staged.kind, staged.signed, staged.chain, now)),
        f"Trusted root: {staged.record.root_sha256 or 'this one'}",
        f"This machine's clock says {moment(now)}.",
        "",
        f"{CONTENT}, the bytes that are signed:",
        f"  SHA-256  {grouped(staged.record.sha256)}",
        f"  SHA-512  {grouped(staged.record.sha512[:64])}",
        f"           {grouped(staged.record.sha512[64:])}",
    ]
    tell(lines, err=err)


def tell_states(staged: Staged, found: Iterable[QuorumState]) -> None:
    """Who has signed and who has not."""
    names = staged.record.names
    for state in found:
        wanted = f"{state.quorum.threshold} of {len(state.quorum.keys)}"
        done = "enough" if state.met else f"{state.quorum.threshold - len(state.signed)} more needed"
        tell([f"{state.quorum.by} wants {wanted}: {len(state.signed)} signed, {done}."])
        tell(f"  signed   {called(keyid, names)}" for keyid in state.signed)
        tell(f"  missing  {called(keyid, names)}" for keyid in state.missing)


def tell(lines: Iterable[str], *, err: bool = False) -> None:
    """Prints lines in which no character can play tricks."""
    for line in lines:
        click.echo(harmless(line), err=err)


def staged_as_json(staged: Staged, collected: Collected, now: datetime) -> dict[str, Any]:
    """All of it, for programs."""
    found = states(staged, collected)
    return {
        "kind": str(staged.kind),
        "version": staged.signed.version,
        "file": staged.name,
        "expires": staged.signed.expires.isoformat(),
        "sha256": staged.record.sha256,
        "sha512": staged.record.sha512,
        "root_sha256": staged.record.root_sha256 or None,
        "changes": describe(staged.kind, staged.signed, staged.chain, staged.record.names),
        "warnings": warnings(staged.kind, staged.signed, staged.chain, now),
        "expired": staged.signed.expires <= now,
        "complete": is_complete(found, collected),
        "thresholds": [_state_as_json(staged, state) for state in found],
        "problems": list(collected.problems.values()),
    }


def is_complete(found: Sequence[QuorumState], collected: Collected) -> bool:
    """Whether it can be published."""
    return not collected.problems and all(state.met for state in found)


def digests(content: bytes) -> dict[str, str]:
    """Both digests of a file."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "sha512": hashlib.sha512(content).hexdigest()}


def _state_as_json(staged: Staged, state: QuorumState) -> dict[str, Any]:
    def keys(keyids: Iterable[str]) -> list[dict[str, str | None]]:
        return [{"name": staged.record.names.get(keyid), "keyid": keyid} for keyid in keyids]

    return {
        "by": state.quorum.by,
        "threshold": state.quorum.threshold,
        "met": state.met,
        "signed": keys(state.signed),
        "missing": keys(state.missing),
    }
