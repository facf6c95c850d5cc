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
from typing import Any

from wharfinger_daemon import canonical
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


@dataclass(frozen=True)
class DocumentSignature:
    """A signature by a key; ``value`` is raw, as TUF has it before hex encoding."""

    keyid: str
    value: bytes


def bin_document(state: RoleState, targets: Iterable[Target]) -> UnsignedDocument:
    """A bin that lists these targets, and delegates nothing."""
    listed = {target.path: {"hashes": dict(target.hashes), "length": target.length} for target in targets}
    return UnsignedDocument(state, "targets", _signed("targets", state, {"targets": listed}))


def snapshot_document(state: RoleState, versions: Mapping[str, int]) -> UnsignedDocument:
    """A snapshot that names these versions, by role: ``targets`` and everything that it delegates to."""
    meta = {f"{role}.json": {"version": version} for role, version in versions.items()}
    return UnsignedDocument(state, "snapshot", _signed("snapshot", state, {"meta": meta}), dict(versions))


def timestamp_document(state: RoleState, snapshot_version: int, snapshot: bytes) -> UnsignedDocument:
    """A timestamp that names one snapshot, with the length and hash of its file."""
    described = {
        "hashes": {"sha256": hashlib.sha256(snapshot).hexdigest()},
        "length": len(snapshot),
        "version": snapshot_version,
    }
    signed = _signed("timestamp", state, {"meta": {"snapshot.json": described}})
    return UnsignedDocument(state, "timestamp", signed, {"snapshot": snapshot_version})


def file_bytes(document: UnsignedDocument, signatures: Sequence[DocumentSignature]) -> bytes:
    """The file that clients download."""
    shown = canonical.encode([{"keyid": one.keyid, "sig": one.value.hex()} for one in signatures])
    return b'{"signatures":' + shown + b',"signed":' + document.signed + b"}"


def carries(content: bytes, document: UnsignedDocument) -> bool:
    """Whether a file is a document in the form of ``file_bytes``, with one signature. That is not verified."""
    body = b',"signed":' + document.signed + b"}"
    return content.endswith(body) and _SIGNATURES.fullmatch(content[: -len(body)]) is not None


def _signed(kind: str, state: RoleState, content: dict[str, Any]) -> bytes:
    return canonical.encode(
        {
            "_type": kind,
            "expires": state.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "spec_version": SPEC_VERSION,
            "version": state.version,
            **content,
        }
    )
