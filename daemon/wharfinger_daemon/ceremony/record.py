"""The printable record of a ceremony: plain ASCII, to be printed, compared, signed by hand and kept.

Digests stand in groups of eight digits, so that two people can compare them by voice.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterator
from datetime import datetime

from wharfinger_daemon.ceremony.changes import describe, moment
from wharfinger_daemon.ceremony.keys import fingerprint
from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.rules import ListedRole, listed_roles
from wharfinger_daemon.ceremony.signatures import Collected, QuorumState, states
from wharfinger_daemon.ceremony.staging import CONTENT, Staged

# Three digits more than a digest in groups, with its name before it.
_WIDTH = 85
_WITNESSES = 4


def write_record(staged: Staged, collected: Collected, published: bytes, at: datetime) -> str:
    """The whole record, with line ends.

    Args:
        published: the file of the ceremony, as it goes to clients.
        at: when it was put together, by the machine's clock.
    """
    lines = [
        "=" * _WIDTH,
        f"RECORD OF A {staged.kind.upper()} CEREMONY: {staged.name}",
        "=" * _WIDTH,
        *_facts(staged, at),
        *_heading("CHANGES"),
        *_changes(staged),
        *_heading("FILES"),
        *_files(staged, published),
        *_heading("ROLES"),
        *_roles(staged),
        *_heading("KEYS"),
        *_keys(staged),
        *_heading("SIGNATURES"),
        *(line for state in states(staged, collected) for line in _quorum(staged, state)),
        *_heading("WITNESSES"),
        "The digests above were compared with those on the screens of the signers.",
        *_witnesses(),
    ]
    return "\n".join(lines) + "\n"


def grouped(digest: str) -> str:
    """Hexadecimal digits in groups of eight."""
    return " ".join(digest[start : start + 8] for start in range(0, len(digest), 8))


def _facts(staged: Staged, at: datetime) -> Iterator[str]:
    yield f"Kind:           {staged.kind}"
    yield f"Version:        {staged.signed.version}"
    yield f"Expires:        {moment(staged.signed.expires)}"
    yield f"Put together:   {moment(at)}, by the clock of that machine"


def _changes(staged: Staged) -> Iterator[str]:
    for line in describe(staged.kind, staged.signed, staged.chain, staged.record.names):
        yield from textwrap.wrap(line, _WIDTH, subsequent_indent=" " * 8)


def _heading(title: str) -> tuple[str, ...]:
    return "", title, "-" * len(title)


def _files(staged: Staged, published: bytes) -> Iterator[str]:
    yield from _digests(staged.name, published)
    yield from _digests(f"{CONTENT} (the bytes that were signed)", staged.content)
    for name, content in staged.chain.files().items():
        yield from _digests(f"{name} (signed before)", content)
    yield "the ceremony file"
    yield f"  SHA-256  {grouped(staged.record.ceremony_file_sha256)}"


def _digests(name: str, content: bytes) -> Iterator[str]:
    yield f"{name}, {len(content)} bytes"
    yield f"  SHA-256  {grouped(hashlib.sha256(content).hexdigest())}"
    longer = hashlib.sha512(content).hexdigest()
    yield f"  SHA-512  {grouped(longer[:64])}"
    yield f"           {grouped(longer[64:])}"


def _roles(staged: Staged) -> Iterator[str]:
    for role in listed_roles(staged.signed):
        yield f"{role.name}: {role.threshold} of {len(role.keys)} keys, {'online' if role.online else 'offline'}"
        yield from (f"  {_name(staged, key.keyid)}" for key in role.keys)


def _keys(staged: Staged) -> Iterator[str]:
    listed: list[ListedRole] = listed_roles(staged.signed)
    keys = {key.keyid: key for role in listed for key in role.keys}
    keys |= {keyid: key for quorum in staged.quorums for keyid, key in quorum.keys.items()}
    for keyid, key in keys.items():
        yield f"{_name(staged, keyid)}, {key.scheme}"
        yield f"  keyid    {grouped(keyid)}"
        yield f"  SHA-256  {grouped(fingerprint(key))}"
    yield "SHA-256 is of the public key in DER (SubjectPublicKeyInfo)."


def _quorum(staged: Staged, state: QuorumState) -> Iterator[str]:
    wanted = f"{state.quorum.threshold} of {len(state.quorum.keys)}"
    yield f"{state.quorum.by} wants {wanted}; signed by {len(state.signed)}:"
    yield from (f"  {_name(staged, keyid)}" for keyid in state.signed)


def _witnesses() -> Iterator[str]:
    for _ in range(_WITNESSES):
        yield ""
        yield f"{'Name:':6}{'_' * 28}  Signature: {'_' * 20}  Date: {'_' * 10}"


def _name(staged: Staged, keyid: str) -> str:
    return staged.record.names.get(keyid, "(no name)")


def record_name(kind: Kind, version: int) -> str:
    """The record's file."""
    return f"{version}.{kind}.record.txt"
