"""Archives that were changed at random: nothing is raised, everything is bounded, and nothing gets lost in silence."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.daemon.scanning.archives.conftest import SMALL, ZipEntry, link, opened, raw_zip, tar_of, zip_of
from wharfinger_daemon.scanning.archives import open_artifact
from wharfinger_daemon.scanning.archives.observations import ANOMALIES_PER_RULE, MAX_UNREAD

SOURCE = b"import this\n" * 40
NOISE = random.Random(0).randbytes(3000)

_MEMBERS = (("p-1/setup.py", SOURCE), ("p-1/noise", NOISE), ("p-1/é" + "x" * 120, b"long name"))
SEEDS = [
    tar_of(*_MEMBERS, link("p-1/link", "setup.py"), mode="w"),
    tar_of(*_MEMBERS),
    tar_of(*_MEMBERS, mode="w:bz2"),
    tar_of(*_MEMBERS, mode="w:xz"),
    zip_of(*_MEMBERS),
    zip_of(*_MEMBERS, method=zipfile.ZIP_LZMA),
    zip_of(*_MEMBERS, method=zipfile.ZIP_BZIP2),
    zip_of(("inner.tar.gz", tar_of(*_MEMBERS)), ("inner.zip", zip_of(*_MEMBERS)), method=0),
    raw_zip(ZipEntry(b"a", SOURCE), ZipEntry(b"b", NOISE), comment=b"comment"),
]
_SIGNATURES = [
    b"PK\1\2",
    b"PK\3\4",
    b"PK\5\6",
    b"PK\6\6",
    b"PK\6\7",
    b"\x1f\x8b\x08",
    b"\xff" * 8,
    b"\0" * 512,
    b"ustar\0",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    artifact = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(artifact)))
        match draw(st.integers(0, 4)):
            case 0:
                artifact[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                del artifact[at : at + draw(st.integers(1, 600))]
            case 2:
                artifact[at:at] = draw(st.sampled_from(_SIGNATURES))
            case 3:
                artifact[at : at + 4] = draw(st.sampled_from(_SIGNATURES))
            case _:
                start = draw(st.integers(0, len(artifact)))
                artifact[at:at] = artifact[start : start + 700]
    return bytes(artifact)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(), st.sampled_from(["p-1.tar.gz", "p-1-py3-none-any.whl", ""]))
def test_a_mutated_archive_is_reported_and_never_raises(artifact: bytes, filename: str) -> None:
    """It may only end in members, anomalies and unread parts, all within bounds, all of them printable."""
    found = open_artifact(io.BytesIO(artifact), SMALL, filename)
    total = 0
    for member in found.members():
        assert len(member.content) <= SMALL.member_bytes
        assert member.name.isprintable()
        total += len(member.content)
    # The account is exceeded by one piece for each level at most, and the file itself is free.
    assert total <= SMALL.total_bytes + 3 * (1 << 20) + 3 * len(artifact)
    rules = [anomaly.rule for anomaly in found.anomalies]
    assert all(rules.count(rule) <= ANOMALIES_PER_RULE for rule in rules)
    assert len(found.unread) <= MAX_UNREAD + 1
    assert all(anomaly.message.isprintable() and anomaly.member.isprintable() for anomaly in found.anomalies)


def _is_zip(artifact: bytes) -> bool:
    try:
        return zipfile.is_zipfile(io.BytesIO(artifact))
    except zipfile.BadZipFile:
        return True


def _seen_by_pip(artifact: bytes) -> dict[str, bytes]:
    """What zipfile or tarfile, as pip uses them, unpack before they raise anything."""
    contents: dict[str, bytes] = {}
    try:
        if _is_zip(artifact):
            with zipfile.ZipFile(io.BytesIO(artifact)) as zipped:
                for info in zipped.infolist():
                    contents[info.filename] = zipped.read(info)
        else:
            with tarfile.open(fileobj=io.BytesIO(artifact), mode="r:*") as tar:
                for header in tar:
                    if header.isreg() and (file := tar.extractfile(header)) is not None:
                        contents[header.name] = file.read()
    except Exception:  # noqa: BLE001 - pip would stop here
        return contents
    return contents


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_what_pip_would_unpack_is_seen_or_reported(artifact: bytes) -> None:
    """No mutation makes a member visible to pip and invisible here without a word."""
    name = "p-1.whl" if _is_zip(artifact) else "p-1.tar.gz"
    pip = {member: content for member, content in _seen_by_pip(artifact).items() if not member.endswith("/")}
    found = open_artifact(io.BytesIO(artifact), SMALL, name)
    seen = {member.content for member in found.members()}
    missed = [member for member, content in pip.items() if content not in seen]
    if missed:
        assert found.unread, missed


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=2000), st.sampled_from([b"", b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]))
def test_any_bytes_are_opened(rest: bytes, magic: bytes) -> None:
    found = opened(magic + rest, "p-1.whl")
    assert found.rules or found.order


def test_whatever_a_library_raises_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of makes the rest unread, and is not taken for the end."""

    def broken(*arguments: object) -> bytes:
        raise LookupError("never seen before")

    monkeypatch.setattr("wharfinger_daemon.scanning.archives.zip_reader.ZipReader._content", broken)
    found = opened(zip_of(("a", b"a")))
    assert (["unreadable-archive"], [""]) == (found.rules, found.unread)


def test_a_quine_of_archives_ends() -> None:
    """Levels are counted, whatever the archives hold."""
    artifact = SOURCE
    for _ in range(12):
        artifact = gzip.compress(artifact)
    assert "nested-too-deep" in opened(zip_of(("a.gz", artifact))).rules
