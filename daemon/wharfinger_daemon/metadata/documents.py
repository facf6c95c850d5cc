"""The exact bytes of online metadata: the ``signed`` object in canonical JSON, and the file that carries it.

The bytes depend on the arguments alone, so that a publication that was interrupted can be built again, byte for byte.
In the file, ``signed`` has exactly the bytes that were signed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from wharfinger_daemon import canonical
from wharfinger_daemon.metadata.listing import listing_of
from wharfinger_daemon.metadata.role_versions import RoleVersions
from wharfinger_daemon.metadata.targets import Target

# The version that the format was written for. A constant of ours: python-tuf's may change between two starts, and the
# bytes of a prepared publication must not.
SPEC_VERSION = "1.0.31"

_SIGNATURES = re.compile(rb'\{"signatures":\[\{"keyid":"[0-9a-f]+","sig":"[0-9a-f]+"\}\]')


@dataclass(frozen=True)
class RoleState:
    """One version of one role.

    Attributes:
        expires: until when it holds (UTC, whole seconds).
        keyid: of the key that signs it, chosen with the version; empty for offline roles, and where the signer chooses.
    """

    role: str
    version: int
    expires: datetime
    keyid: str = ""


@dataclass(frozen=True)
class UnsignedDocument:
    """Metadata that is ready to be signed.

    Attributes:
        type: the ``_type``: targets, snapshot or timestamp.
        meta: for a snapshot or timestamp, the version of each role that it names (without ``.json``); else empty.
        signed: the canonical bytes of the ``signed`` object.
    """

    state: RoleState
    type: str
    signed: bytes
    meta: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of ``signed``."""
        return hashlib.sha256(self.signed).digest()


@dataclass(frozen=True)
class DocumentSignature:
    """A signature by a key; ``value`` is raw, as TUF has it before hex encoding."""

    keyid: str
    value: bytes


def bin_document(state: RoleState, targets: Iterable[Target]) -> UnsignedDocument:
    """A bin that lists these targets, and delegates nothing."""
    return listing_document(state, listing_of(targets))


def listing_document(state: RoleState, listing: bytes) -> UnsignedDocument:
    """A bin with a listing of targets, as ``listing.listing_of`` writes it."""
    return UnsignedDocument(state, "targets", b"".join((listing_head(state), listing, listing_tail(state))))


def listing_head(state: RoleState) -> bytes:
    """What the ``signed`` of a bin says before its listing."""
    return f'{{"_type":"targets","expires":"{_instant(state)}","spec_version":"{SPEC_VERSION}","targets":{{'.encode()


def listing_tail(state: RoleState) -> bytes:
    """What it says after its listing."""
    return f'}},"version":{state.version}}}'.encode()


def snapshot_document(state: RoleState, versions: Mapping[str, int]) -> UnsignedDocument:
    """A snapshot that names these versions, by role: ``targets`` and everything that it delegates to."""
    return naming_document(state, RoleVersions(versions))


def naming_document(state: RoleState, named: RoleVersions) -> UnsignedDocument:
    """A snapshot that names these versions."""
    head = f'{{"_type":"snapshot","expires":"{_instant(state)}","meta":{{'.encode()
    tail = f'}},"spec_version":"{SPEC_VERSION}","version":{state.version}}}'.encode()
    return UnsignedDocument(state, "snapshot", head + named.encoded() + tail, dict(named.versions))


def timestamp_document(state: RoleState, snapshot_version: int, snapshot: bytes) -> UnsignedDocument:
    """A timestamp that names one snapshot, with the length and hash of its file."""
    described = {
        "hashes": {"sha256": hashlib.sha256(snapshot).hexdigest()},
        "length": len(snapshot),
        "version": snapshot_version,
    }
    signed = canonical.encode(
        {
            "_type": "timestamp",
            "expires": _instant(state),
            "meta": {"snapshot.json": described},
            "spec_version": SPEC_VERSION,
            "version": state.version,
        }
    )
    return UnsignedDocument(state, "timestamp", signed, {"snapshot": snapshot_version})


def file_bytes(document: UnsignedDocument, signatures: Sequence[DocumentSignature]) -> bytes:
    """The file that clients download."""
    shown = canonical.encode([{"keyid": one.keyid, "sig": one.value.hex()} for one in signatures])
    return b"".join((b'{"signatures":', shown, b',"signed":', document.signed, b"}"))


def carries(content: bytes, document: UnsignedDocument) -> bool:
    """Whether a file is a document in the form of ``file_bytes``, with one signature. That is not verified."""
    body = b',"signed":' + document.signed + b"}"
    return content.endswith(body) and _SIGNATURES.fullmatch(content[: -len(body)]) is not None


def _instant(state: RoleState) -> str:
    return state.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
