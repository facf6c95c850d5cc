"""The bytes that are signed are the ones that python-tuf would sign."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import CanonicalJSONSerializer

from wharfinger_daemon.metadata.documents import (
    DocumentSignature,
    RoleState,
    UnsignedDocument,
    bin_document,
    file_bytes,
    snapshot_document,
    timestamp_document,
)
from wharfinger_daemon.metadata.targets import Target

VERSIONS = st.integers(1, 2**62)
INSTANTS = st.datetimes(timezones=st.just(UTC)).map(lambda instant: instant.replace(microsecond=0))
SEGMENTS = st.text(st.characters(codec="ascii", exclude_characters='/"\\', min_codepoint=32), min_size=1).filter(
    lambda text: text not in (".", "..") and "\x7f" not in text
)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join).filter(lambda path: len(path) <= 1024)
TARGETS = st.builds(
    lambda path, content, length: Target(path, length, {"sha256": hashlib.sha256(content).hexdigest()}),
    PATHS,
    st.binary(),
    st.integers(0, 2**62),
)


def canonical_by_python_tuf(signed: Any) -> bytes:
    return CanonicalJSONSerializer().serialize(signed)


@given(VERSIONS, INSTANTS, st.lists(TARGETS, unique_by=lambda target: target.path))
def test_a_bin_has_the_bytes_that_python_tuf_signs(version: int, expires: datetime, listed: list[Target]) -> None:
    theirs = Targets(
        version=version,
        expires=expires,
        targets={one.path: TargetFile(one.length, dict(one.hashes), one.path) for one in listed},
    )
    assert canonical_by_python_tuf(theirs) == bin_document(RoleState("bins-0", version, expires), listed).signed


@given(VERSIONS, INSTANTS, st.dictionaries(st.from_regex(r"[a-z]+(-[0-9a-f]+)?", fullmatch=True), VERSIONS))
def test_a_snapshot_has_the_bytes_that_python_tuf_signs(version: int, expires: datetime, named: dict[str, int]) -> None:
    theirs = Snapshot(version=version, expires=expires, meta={f"{role}.json": MetaFile(v) for role, v in named.items()})
    document = snapshot_document(RoleState("snapshot", version, expires), named)
    assert (canonical_by_python_tuf(theirs), named) == (document.signed, document.meta)


@given(VERSIONS, INSTANTS, VERSIONS, st.binary(min_size=1))
def test_a_timestamp_has_the_bytes_that_python_tuf_signs(
    version: int, expires: datetime, snapshot_version: int, snapshot: bytes
) -> None:
    described = MetaFile(snapshot_version, len(snapshot), {"sha256": hashlib.sha256(snapshot).hexdigest()})
    theirs = Timestamp(version=version, expires=expires, snapshot_meta=described)
    document = timestamp_document(RoleState("timestamp", version, expires), snapshot_version, snapshot)
    assert canonical_by_python_tuf(theirs) == document.signed
    assert {"snapshot": snapshot_version} == document.meta


def test_the_file_holds_exactly_the_signed_bytes_and_python_tuf_reads_it() -> None:
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    listed = [Target("b/c", 3, {"sha256": "0" * 64}), Target("a", 1, {"sha512": "1" * 128})]
    document = bin_document(RoleState("bins-0", 7, expires), listed)
    content = file_bytes(document, [DocumentSignature("k" * 64, b"\x01\xff")])
    assert document.signed in content
    metadata = Metadata[Targets].from_bytes(content)
    assert (7, "01ff") == (metadata.signed.version, metadata.signatures["k" * 64].signature)
    assert document.signed == metadata.signed_bytes
    assert {"a", "b/c"} == set(json.loads(content)["signed"]["targets"])


def test_the_same_state_gives_the_same_bytes_in_any_order() -> None:
    state = RoleState("bins-0", 1, datetime(2030, 1, 1, tzinfo=UTC))
    listed = [Target(path, 1, {"sha256": "0" * 64}) for path in ("z", "a", "m")]
    forwards: UnsignedDocument = bin_document(state, listed)
    assert forwards == bin_document(state, reversed(listed))
