"""What is opened, as what, and what is inside."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile

import pytest

from tests.unit.daemon.scanning.archives.conftest import KIB, SMALL, link, opened, tar_of, zip_of
from wharfinger_daemon.scanning.archives import ArtifactUnreadableError, compressed, open_artifact
from wharfinger_daemon.scanning.plugin import ArtifactFormat

SOURCE = b"import this\n" * 500


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_are_opened_by_content_whatever_their_name(mode: str) -> None:
    found = opened(tar_of(("p-1/setup.py", SOURCE), ("p-1/data.bin", b"\0" * 100), mode=mode), "p.whl")
    assert {"p-1/setup.py": SOURCE, "p-1/data.bin": b"\0" * 100} == found.contents
    assert ("p-1/setup.py", "p-1/data.bin") == found.names
    assert ArtifactFormat.SDIST == found.format
    assert ([], []) == (found.rules, found.unread)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_archives_are_opened_by_content_whatever_their_name(method: int) -> None:
    found = opened(zip_of(("p/__init__.py", SOURCE), ("empty", b""), ("folder/", b""), method=method), "p-1.tar.gz")
    assert {"p/__init__.py": SOURCE, "empty": b""} == found.contents
    assert ("p/__init__.py", "empty", "folder/") == found.names
    assert ArtifactFormat.ZIP == found.format
    assert ([], []) == (found.rules, found.unread)


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [
        (zip_of(("p/a.py", b""), ("p-1.dist-info/WHEEL", b"")), ArtifactFormat.WHEEL),
        (zip_of(("p-1/PKG-INFO", b"")), ArtifactFormat.SDIST),
        (zip_of(("EGG-INFO/PKG-INFO", b""), method=0), ArtifactFormat.SDIST),
        (tar_of(("./p-1/pyproject.toml", b"")), ArtifactFormat.SDIST),
        (tar_of(("a", b"")), ArtifactFormat.TAR),
        (zip_of(("a", b"")), ArtifactFormat.ZIP),
        (b"no archive", ArtifactFormat.UNKNOWN),
    ],
    ids=["wheel", "zipped sdist", "egg", "sdist", "tar", "zip", "nothing"],
)
def test_the_format_is_what_the_members_say(artifact: bytes, expected: ArtifactFormat) -> None:
    assert expected == opened(artifact).format


@pytest.mark.parametrize("held_bytes", [4 * KIB, 300 * KIB])
def test_large_archives_are_unpacked_twice_and_read_the_same(monkeypatch: pytest.MonkeyPatch, held_bytes: int) -> None:
    """What is too large to be held between the two passes over a tar archive is unpacked for each."""
    noise = random.Random(0).randbytes(90_000)
    artifact = tar_of(*((f"p-1/{number}", noise[number:]) for number in range(10)))
    held = opened(artifact)
    monkeypatch.setattr(compressed, "HELD_BYTES", held_bytes)
    assert held == opened(artifact)
    assert 10 == len(held.contents)


def test_zip64_archives_are_opened() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        with archive.open(zipfile.ZipInfo("a.py"), "w", force_zip64=True) as member:
            member.write(SOURCE)
        archive.filelist *= 1
    found = opened(buffer.getvalue())
    assert ({"a.py": SOURCE}, []) == (found.contents, found.rules)


def test_a_zip64_end_record_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    found = opened(zip_of(("a.py", SOURCE), ("b.py", b"")))
    assert (["a.py", "b.py"], []) == (found.order, found.rules)


def test_zip_members_written_to_a_pipe_have_their_numbers_behind_them() -> None:
    """Data descriptors are not taken for data that belongs to no member."""

    class Pipe(io.RawIOBase):
        written = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.written += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", SOURCE)
        archive.writestr("b.py", SOURCE)
    found = opened(bytes(pipe.written))
    assert ({"a.py": SOURCE, "b.py": SOURCE}, []) == (found.contents, found.rules)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_several_compressed_streams_in_a_row_are_one(pack: object) -> None:
    tar = tar_of(("p-1/setup.py", SOURCE), mode="w")
    artifact = pack(tar[:700]) + pack(tar[700:]) + b"\0" * 100  # type: ignore[operator]
    found = opened(artifact)
    assert ({"p-1/setup.py": SOURCE}, []) == (found.contents, found.rules)


def test_archives_inside_archives_are_opened() -> None:
    inner = tar_of(("run.py", SOURCE), mode="w:xz")
    found = opened(zip_of(("p/inner.bin", inner), ("p/notes.txt.gz", gzip.compress(b"notes"))))
    assert [
        "p/inner.bin",
        "p/inner.bin!/run.py",
        "p/notes.txt.gz",
        "p/notes.txt.gz!/notes.txt",
    ] == found.order
    assert ("p/inner.bin", "p/notes.txt.gz") == found.names
    assert [] == found.rules


def test_what_only_looks_like_an_archive_inside_one_is_no_anomaly() -> None:
    """Signatures occur in programs, and magic bytes in data."""
    program = b"magic = PK\5\6" + bytes(range(1, 60))
    found = opened(zip_of(("p/tool.bin", program), ("data", b"\x1f\x8b\x08 not so"), ("more", b"BZh")))
    assert (["p/tool.bin", "data", "more"], []) == (found.order, found.rules)


def test_sparse_tar_members_are_read_with_their_holes() -> None:
    info = tarfile.TarInfo("p-1/sparse")
    info.pax_headers = {"GNU.sparse.map": "0,1,5000,1", "GNU.sparse.size": "6000", "GNU.sparse.name": "p-1/sparse"}
    info.size = 2
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"ab"))
    found = opened(buffer.getvalue())
    assert b"a" + b"\0" * 4999 + b"b" + b"\0" * 999 == found.contents["p-1/sparse"]


def test_names_that_no_database_holds_are_escaped() -> None:
    found = opened(tar_of(("p-1/\udcff\x07\u202e.py", b"x"), ("n" * 2000, b"y")))
    assert "p-1/\\udcff\\x07\\u202e.py" == found.order[0]
    assert 1000 == len(found.order[1])


def test_folders_devices_and_links_have_no_content() -> None:
    folder = tarfile.TarInfo("p-1")
    folder.type = tarfile.DIRTYPE
    found = opened(tar_of(folder, link("p-1/link", "setup.py"), ("p-1/setup.py", SOURCE)))
    assert ["p-1/setup.py"] == found.order
    assert ("p-1", "p-1/link", "p-1/setup.py") == found.names


def test_an_unreadable_disk_is_not_the_contents_fault() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(ArtifactUnreadableError, match="Input/output error"):
        open_artifact(Broken(zip_of(("a", b"a"))), SMALL)


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_a_disk_that_fails_later_is_not_the_contents_fault(make: object) -> None:
    class Breaking(io.BytesIO):
        broken = False

        def read(self, size: int | None = -1, /) -> bytes:
            if self.broken:
                raise OSError(5, "Input/output error")
            return super().read(size)

    file = Breaking(make(("a", SOURCE), ("b", SOURCE)) if make is zip_of else tar_of(("a", SOURCE), mode="w"))  # type: ignore[operator]
    members = open_artifact(file, SMALL).members()
    file.broken = True
    with pytest.raises(ArtifactUnreadableError):
        list(members)
