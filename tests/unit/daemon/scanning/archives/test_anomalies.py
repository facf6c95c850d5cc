"""Each way in which an archive can be odd, one rule each; the module ``archives`` lists them."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib

import pytest
from isal import igzip_lib

from tests.unit.daemon.scanning.archives.conftest import (
    KIB,
    SMALL,
    ZipEntry,
    link,
    opened,
    raw_zip,
    replace,
    tar_of,
    zip_of,
)
from wharfinger_daemon.scanning.archives import ArchiveLimits, inflate, open_artifact, streams, zip_reader

SOURCE = b"import this\n" * 50


@pytest.mark.parametrize("name", ["/etc/passwd", "\\windows", "C:/windows"])
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_absolute_path(make: object, name: str) -> None:
    found = opened(make((name, b"x")))  # type: ignore[operator]
    assert ["absolute-path"] == found.rules
    assert [name] == found.order


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a\\..\\x", ".."])
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_path_traversal(make: object, name: str) -> None:
    assert "path-traversal" in opened(make((name, b"x"))).rules  # type: ignore[operator]


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_dots_inside_names_are_no_traversal(make: object) -> None:
    assert [] == opened(make(("a/..b/c..", b"x"))).rules  # type: ignore[operator]


@pytest.mark.parametrize(
    ("member", "rules"),
    [
        (link("p-1/README", "docs/README"), ["link-member"]),
        (link("p-1/docs/up", "../README"), ["link-member"]),
        (link("p-1/x", "../../etc/passwd"), ["link-member", "link-escape"]),
        (link("p-1/x", "/etc/passwd"), ["link-member", "link-escape"]),
        (link("p-1/x", "p-1/README", tarfile.LNKTYPE), ["link-member"]),
        (link("p-1/x", "../README", tarfile.LNKTYPE), ["link-member", "link-escape"]),
        (link("p-1/setup.py", "data.txt"), ["link-member", "link-disguise"]),
        (link("p-1/a.py", "b.py"), ["link-member"]),
    ],
)
def test_links(member: tarfile.TarInfo, rules: list[str]) -> None:
    """An ordinary link is only noted; one that leads out, or that dresses data up as code, has a rule of its own."""
    found = opened(tar_of(member))
    assert rules == found.rules
    assert [] == found.unread


def test_symbolic_link_in_zip_is_read_as_the_file_that_pip_makes_of_it() -> None:
    info = zipfile.ZipInfo("p/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    found = opened(zip_of((info, b"/etc/passwd")))
    assert (["link-member"], {"p/link": b"/etc/passwd"}) == (found.rules, found.contents)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_device_member_in_tar(kind: bytes) -> None:
    assert ["device-member"] == opened(tar_of(link("p-1/device", "", kind))).rules


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_device_member_in_zip(kind: int) -> None:
    assert ["device-member"] == opened(raw_zip(ZipEntry(b"device", external=kind << 16))).rules


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize("other", ["p/a.py", "./p/a.py", "p//a.py"])
def test_duplicate_member(make: object, other: str) -> None:
    found = opened(make(("p/a.py", b"good"), (other, b"bad")))  # type: ignore[operator]
    assert ["duplicate-member"] == found.rules
    assert ["p/a.py", other] == found.order


def test_encrypted_member() -> None:
    found = opened(raw_zip(ZipEntry(b"secret.py", b"??", flags=1), ZipEntry(b"open.py", b"x")))
    assert (["encrypted-member"], ["secret.py"], ["open.py"]) == (found.rules, found.unread, found.order)


@pytest.mark.parametrize(
    "entry",
    [
        ZipEntry(b"a.py", b"x", local_name=b"b.py"),
        ZipEntry(b"a.py", b"x", local_method=8),
        ZipEntry(b"a.py", b"x", local_flags=1),
        ZipEntry(b"a.py", b"x", local_size=5),
        ZipEntry(b"a.py", b"x", local_crc=5),
        ZipEntry(b"a.py", b"x", local_packed_size=5),
    ],
)
def test_zip_local_header_mismatch(entry: ZipEntry) -> None:
    """The content is read as pip reads it: by the directory."""
    found = opened(raw_zip(entry))
    assert (["zip-local-header-mismatch"], {"a.py": b"x"}) == (found.rules, found.contents)


def test_utf8_names_agree() -> None:
    assert [] == opened(zip_of(("p/naïve.py", b"x"))).rules
    assert [] == opened(raw_zip(ZipEntry("é".encode("cp437"), b"x"))).rules


def test_long_names_agree_and_differ() -> None:
    assert [] == opened(zip_of(("x" * 500, b"x"))).rules
    lying = ZipEntry(b"x" * 500, b"x", local_name=b"x" * 499 + b"y")
    assert ["zip-local-header-mismatch"] == opened(raw_zip(lying)).rules


@pytest.mark.parametrize(
    "entry",
    [
        ZipEntry(b"a.py\0.txt", b"x"),
        ZipEntry(b"a.txt", b"x", central_extra=struct.pack("<HHBL", 0x7075, 9, 1, 0) + b"a.py"),
    ],
)
def test_ambiguous_name(entry: ZipEntry) -> None:
    assert ["ambiguous-name"] == opened(raw_zip(entry)).rules


def test_other_extra_fields_are_nothing() -> None:
    extra = struct.pack("<HHBL", 0x7075, 10, 1, 0) + b"a.txt" + struct.pack("<HH", 0xCAFE, 0)
    assert [] == opened(raw_zip(ZipEntry(b"a.txt", b"x", central_extra=extra))).rules


def test_zip_overlapping_members() -> None:
    """Two directory entries for the same bytes, as in a bomb that is not nested."""
    found = opened(raw_zip(ZipEntry(b"a.py", b"x" * 100), ZipEntry(b"b.py", b"x" * 100, offset=0)))
    assert "zip-overlapping-members" in found.rules


def test_zip_member_that_reaches_into_the_directory() -> None:
    found = opened(raw_zip(ZipEntry(b"a.py", b"x" * 10, packed_size=30, size=30)))
    assert "zip-overlapping-members" in found.rules


def test_zip_unlisted_data() -> None:
    """A member that the directory leaves out is shown to checks as it stands, and is not unpacked."""
    hidden = ZipEntry(b"hidden.py", b"import evil").local()
    found = opened(raw_zip(ZipEntry(b"a.py", b"x", after=hidden), ZipEntry(b"b.py", b"y")))
    assert ["zip-unlisted-data", "truncated-archive"] == found.rules
    assert ["!unlisted-data-1"] == found.unread
    assert hidden == found.contents["!unlisted-data-1"]


def test_zip_unlisted_data_before_the_directory() -> None:
    found = opened(raw_zip(ZipEntry(b"a.py", b"x", after=b"hidden")))
    assert (["zip-unlisted-data"], b"hidden") == (found.rules, found.contents["!unlisted-data-1"])


def test_unlisted_data_in_many_places_is_unread() -> None:
    limits = replace(SMALL, members=100)
    found = opened(raw_zip(*(ZipEntry(b"%d" % number, after=b"hidden") for number in range(30))), limits=limits)
    assert ({"zip-unlisted-data"}, [""]) == (set(found.rules), found.unread)
    assert b"hidden" == found.contents["!unlisted-data-20"]


def test_much_unlisted_data_is_unread() -> None:
    found = opened(raw_zip(ZipEntry(b"a.py", b"x", after=b"h" * (SMALL.member_bytes + 1))))
    assert (["zip-unlisted-data", "member-too-large"], ["!unlisted-data-1"]) == (found.rules, found.unread)


def test_zip_size_mismatch() -> None:
    """The member goes on after the size that the directory states; the rest is not what pip unpacks."""
    packed = zlib.compress(SOURCE, wbits=-15)
    entry = ZipEntry(b"a.py", packed, method=8, size=24, crc=zlib.crc32(SOURCE[:24]))
    found = opened(raw_zip(entry))
    assert (["zip-size-mismatch"], ["a.py"], {"a.py": SOURCE[:24]}) == (found.rules, found.unread, found.contents)


def test_zip_entry_count_mismatch() -> None:
    assert ["zip-entry-count-mismatch"] == opened(raw_zip(ZipEntry(b"a.py", b"x"), count=7)).rules


def test_prepended_data() -> None:
    found = opened(b"#!/usr/bin/python\n" + zip_of(("__main__.py", SOURCE)))
    assert ["prepended-data"] == found.rules
    assert b"#!/usr/bin/python\n" == found.contents["!prepended-data"]
    assert SOURCE == found.contents["__main__.py"]


@pytest.mark.parametrize(
    "artifact",
    [
        zip_of(("a", SOURCE)),
        tar_of(("a", SOURCE)),
        tar_of(("a", SOURCE), mode="w:bz2"),
        tar_of(("a", SOURCE), mode="w"),
    ],
)
def test_trailing_data(artifact: bytes) -> None:
    found = opened(artifact + b"behind")
    assert ["trailing-data"] == found.rules
    assert {"a": SOURCE, "!trailing-data": b"behind"} == found.contents


@pytest.mark.parametrize("artifact", [tar_of(("a", SOURCE)), tar_of(("a", SOURCE), mode="w")])
def test_much_trailing_data_is_unread(artifact: bytes) -> None:
    found = opened(artifact + b"b" * (SMALL.member_bytes + 1))
    assert "trailing-data" in found.rules
    assert 1 == len(found.unread)


def test_a_second_archive_behind_the_end_of_a_tar_archive_is_opened() -> None:
    """Tools that ignore the end see members that pip does not."""
    artifact = gzip.compress(tar_of(("a", SOURCE), mode="w") + tar_of(("hidden.py", b"import evil"), mode="w"))
    found = opened(artifact)
    assert ["trailing-data"] == found.rules
    assert b"import evil" == found.contents["!trailing-data!/hidden.py"]


def test_polyglot() -> None:
    """A file that is both, as seen by pip under the one name and the other, is read as both."""
    tar, zipped = tar_of(("from_tar.py", SOURCE)), zip_of(("from_zip.py", SOURCE))
    found = opened(tar + zipped, "p-1.tar.gz")
    assert "polyglot" in found.rules
    assert {"from_tar.py", "from_zip.py"} <= set(found.order)


def test_polyglot_whose_zip_end_is_hidden_by_padding() -> None:
    """Zipfile finds the end of a zip archive behind which there is more, and pip opens a wheel with zipfile."""
    artifact = tar_of(("from_tar.py", SOURCE), mode="w") + zip_of(("from_zip.py", SOURCE)) + b"\0" * 1000
    assert "polyglot" in opened(artifact, "p-1-py3-none-any.whl").rules


def test_a_zip_archive_that_is_the_last_member_of_a_tar_archive_is_no_polyglot() -> None:
    found = opened(tar_of(("a", SOURCE), ("fixture.zip", zip_of(("b", SOURCE))), mode="w"), "p-1.tar")
    assert [] == found.rules
    assert SOURCE == found.contents["fixture.zip!/b"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_expansion_bomb_by_ratio_in_tar(mode: str) -> None:
    found = opened(tar_of(*((str(number), b"\0" * 200 * KIB) for number in range(20)), mode=mode))
    assert ["expansion-bomb"] == found.rules
    assert [""] == found.unread
    assert 0 < len(found.order) < 20


def test_expansion_bomb_in_zip_stops_the_reading() -> None:
    found = opened(zip_of(*((str(number), b"\0" * 200 * KIB) for number in range(5))))
    assert (["expansion-bomb"], [""], ["0", "1"]) == (found.rules, found.unread, found.order)


def test_expansion_bomb_by_total() -> None:
    limits = replace(SMALL, ratio=10**6)
    found = opened(zip_of(*((str(number), b"\0" * 250 * KIB) for number in range(10))), limits=limits)
    assert (["expansion-bomb"], 8) == (found.rules, len(found.order))


def test_expansion_bomb_through_nesting() -> None:
    """Levels share one account: a bomb of small bombs is one."""
    level = zip_of(*((str(number), b"\0" * 200 * KIB) for number in range(2)))
    found = opened(zip_of(*((f"{number}.zip", level) for number in range(5))))
    assert "expansion-bomb" in found.rules


def test_expansion_bomb_of_sparse_holes() -> None:
    members = []
    for number in range(10):
        info = tarfile.TarInfo(f"{number}")
        info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(250 * KIB), "GNU.sparse.name": f"{number}"}
        members.append(info)
    found = opened(tar_of(*members, mode="w"))
    assert "expansion-bomb" in found.rules


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_too_many_members(make: object) -> None:
    found = opened(make(*((str(number), b"x") for number in range(30))))  # type: ignore[operator]
    assert (["too-many-members"], [""], 20, 20) == (found.rules, found.unread, len(found.names), len(found.order))


def test_too_many_members_for_the_directory_to_be_read() -> None:
    found = opened(
        zip_of(*((f"{number:0500}", b"") for number in range(50)), method=0), limits=ArchiveLimits(members=5)
    )
    assert ["too-many-members"] == found.rules


def test_too_many_members_in_a_nested_archive() -> None:
    inner = zip_of(*((f"{number:0500}", b"") for number in range(50)), method=0)
    found = opened(zip_of(("inner.zip", inner), ("after", b"x")), limits=ArchiveLimits(members=5))
    assert (["too-many-members"], ["inner.zip"]) == (found.rules, found.unread)
    assert ["inner.zip", "after"] == found.order


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_member_too_large(make: object) -> None:
    large = bytes(range(256)) * (SMALL.member_bytes // 256) + b"!"
    found = opened(make(("large", large), ("small", b"x")))  # type: ignore[operator]
    assert (["member-too-large"], ["large"], ["small"]) == (found.rules, found.unread, found.order)


def test_compressed_file_that_is_too_large() -> None:
    noise = zlib.compress(bytes(range(256))) * 9000
    found = opened(gzip.compress(noise[: SMALL.member_bytes + 1], 1))
    assert ["not-an-archive", "member-too-large"] == found.rules


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_truncated_tar(mode: str) -> None:
    noise = bytes(range(256)) * 100
    artifact = tar_of(("a", SOURCE), ("b", noise), mode=mode)
    found = opened(artifact[: len(artifact) // 2 if mode != "w" else 5000])
    assert "truncated-archive" in found.rules
    assert found.unread


def test_tar_without_an_end_is_read_completely() -> None:
    tar = tar_of(("a", SOURCE), mode="w")
    found = opened(tar[:1536])
    assert (["truncated-archive"], [], {"a": SOURCE}) == (found.rules, found.unread, found.contents)


def test_compressed_tar_that_ends_between_two_members_is_reported_once() -> None:
    artifact = gzip.compress(tar_of(("a", SOURCE), mode="w")[:1536])[:-8]
    found = opened(artifact)
    assert (["truncated-archive"], [""], {"a": SOURCE}) == (found.rules, found.unread, found.contents)


def test_zip_without_directory() -> None:
    found = opened(zip_of(("a", SOURCE))[:-40], "a.whl")
    assert (["truncated-archive"], [""], ["a.whl"]) == (found.rules, found.unread, found.order)


def test_zip_whose_comment_is_cut() -> None:
    found = opened(raw_zip(ZipEntry(b"a", b"x"), comment=b"comment")[:-3])
    assert (["truncated-archive"], ["a", "!comments"]) == (found.rules, found.order)


def test_zip_member_that_ends_too_early() -> None:
    packed = zlib.compress(SOURCE, wbits=-15)
    entry = ZipEntry(b"a", packed[:-5], method=8, size=len(SOURCE), crc=zlib.crc32(SOURCE))
    assert (["truncated-archive"], ["a"]) == ((found := opened(raw_zip(entry))).rules, found.unread)


def test_zip_directory_that_points_nowhere() -> None:
    found = opened(raw_zip(ZipEntry(b"a", b"x" * 50), ZipEntry(b"b", offset=20)))
    assert "truncated-archive" in found.rules
    assert "b" in found.unread


def test_bad_checksum_in_zip_is_examined_all_the_same() -> None:
    found = opened(raw_zip(ZipEntry(b"a.py", b"x", crc=1)))
    assert (["bad-checksum"], [], {"a.py": b"x"}) == (found.rules, found.unread, found.contents)


def test_bad_checksum_in_gzip() -> None:
    artifact = bytearray(tar_of(("a", SOURCE)))
    artifact[-6] ^= 1
    found = opened(bytes(artifact))
    assert (["bad-checksum"], [], {"a": SOURCE}) == (found.rules, found.unread, found.contents)


def test_corrupt_data_in_zip() -> None:
    entry = ZipEntry(b"a.py", b"\xff" * 50, method=8, size=100)
    found = opened(raw_zip(entry))
    assert (["corrupt-data"], ["a.py"]) == (found.rules, found.unread)


def test_corrupt_data_in_lzma_of_zip() -> None:
    found = opened(
        raw_zip(ZipEntry(b"a", b"\0\0\5\0\xff" + b"\0" * 50, method=14, size=9), ZipEntry(b"b", b"1", method=14))
    )
    assert (["unsupported-compression", "truncated-archive"], ["a", "b"]) == (found.rules, found.unread)


def test_corrupt_xz() -> None:
    artifact = bytearray(tar_of(("a", bytes(range(256)) * 50), mode="w:xz"))
    artifact[60] ^= 0xFF
    assert "corrupt-data" in opened(bytes(artifact)).rules


def test_corrupt_compressed_file_of_which_nothing_can_be_unpacked() -> None:
    found = opened(b"BZh9" + b"\xff" * 100, "a.tar.bz2")
    assert (["corrupt-data"], [""], ["a.tar.bz2"]) == (found.rules, found.unread, found.order)


def test_corrupt_header_that_tarfile_takes_for_the_end() -> None:
    """What follows is not seen by pip, and is by other tools."""
    first, second = tar_of(("a", SOURCE), mode="w")[:1536], tar_of(("hidden.py", b"import evil"), mode="w")
    found = opened(first + b"\1" * 512 + second)
    assert ["corrupt-header", "trailing-data"] == found.rules
    assert b"import evil" in found.contents["!trailing-data"]


def test_negative_size_in_a_tar_header() -> None:
    """A size that would move the reader backwards, for ever."""
    info = tarfile.TarInfo("a")
    header = bytearray(info.tobuf())
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    found = opened(tar_of(("first", b"x"), mode="w")[:1024] + bytes(header) + b"\0" * 2048)
    assert "corrupt-header" in found.rules
    assert ["first"] == found.order[:1]


def test_oversized_header() -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "c" * 100_000}
    found = opened(tar_of(("first", b"x"), info, mode="w"))
    assert (["oversized-header"], ["first"]) == (found.rules, found.order)


def test_unsupported_compression() -> None:
    found = opened(raw_zip(ZipEntry(b"a.py", b"x", method=98)))
    assert (["unsupported-compression"], ["a.py"]) == (found.rules, found.unread)


@pytest.mark.parametrize("artifact", [b"", b"hello", b"PK", b"\0" * 1000])
def test_not_an_archive(artifact: bytes) -> None:
    """The file itself is shown to checks."""
    found = opened(artifact, "folder/evil.whl")
    assert (["not-an-archive"], [], {"evil.whl": artifact}) == (found.rules, found.unread, found.contents)


def test_not_an_archive_and_too_large() -> None:
    found = opened(b"x" * (SMALL.member_bytes + 1))
    assert (["not-an-archive", "member-too-large"], [""]) == (found.rules, found.unread)


def test_a_compressed_file_is_not_an_archive() -> None:
    found = opened(gzip.compress(SOURCE), "p-1.tar.gz")
    assert (["not-an-archive"], {"p-1.tar": SOURCE}) == (found.rules, found.contents)


def test_nested_too_deep() -> None:
    artifact = zip_of(("innermost.py", SOURCE))
    for level in range(3):
        artifact = zip_of((f"{level}.zip", artifact))
    found = opened(artifact)
    assert (["nested-too-deep"], ["2.zip!/1.zip!/0.zip"]) == (found.rules, found.unread)
    assert "2.zip!/1.zip!/0.zip" in found.contents


def test_unreadable_archive() -> None:
    """What zipfile refuses altogether is reported, and its bytes are examined."""
    entry = ZipEntry(b"a", b"x")
    artifact = bytearray(raw_zip(entry))
    at = artifact.index(b"PK\1\2")
    artifact[at + 6] = 99  # a version that is needed to extract
    found = opened(bytes(artifact), "a.zip")
    assert (["unreadable-archive"], [""], ["a.zip"]) == (found.rules, found.unread, found.order)


def test_observations_are_bounded() -> None:
    """A hostile archive does not fill the report."""
    limits = replace(SMALL, members=500)
    found = opened(raw_zip(*(ZipEntry(b"../%d" % number, b"x", method=98) for number in range(200))), limits=limits)
    assert (20, 20) == (found.rules.count("path-traversal"), found.rules.count("unsupported-compression"))
    assert 51 == len(found.unread)


def test_members_of_nested_archives_are_named_in_full() -> None:
    found = opened(zip_of(("data/inner.zip", zip_of(("../x.py", b"x")))))
    assert {"path-traversal": "data/inner.zip!/../x.py"} == found.places


def test_what_isal_refuses_is_tried_with_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that only zlib unpacks, which is what pip uses, is no place to hide."""

    class Refusing:
        eof = False
        needs_input = True
        unused_data = b""

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            raise igzip_lib.IsalError("Invalid block")

    codec = replace(streams.CODECS[0], makers=(Refusing, inflate.GzipMember))
    monkeypatch.setattr("wharfinger_daemon.scanning.archives.kinds.CODECS", (codec,))
    monkeypatch.setitem(zip_reader._METHODS, zipfile.ZIP_DEFLATED, (Refusing, inflate.zlib_deflate))
    large = b"".join(struct.pack("<L", number * 2654435761 % 2**32) for number in range(60_000))
    for artifact in (tar_of(("a", large)), zip_of(("a", large))):
        found = opened(artifact)
        assert ([], large) == (found.rules, found.contents["a"])


@pytest.mark.parametrize("largest_read", [600, 10])
def test_memory_that_runs_out_is_not_hidden(largest_read: int) -> None:
    """It says more about the machine than about the content, and the worker must know."""

    class Small(io.BytesIO):
        def __init__(self, content: bytes) -> None:
            super().__init__(content)
            self.reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            # The first reads find out what it is.
            self.reads += 1
            if self.reads > 4 and size is not None and size > largest_read:
                raise MemoryError
            return super().read(size)

    with pytest.raises(MemoryError):
        list(open_artifact(Small(zip_of(("a", SOURCE * 2), method=0)), SMALL).members())


def test_a_zip_decompressor_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library does so; if one did, a worker would turn for ever."""

    class Still:
        eof = False
        needs_input = False
        unused_data = b""

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            return b""

    monkeypatch.setitem(zip_reader._METHODS, zipfile.ZIP_DEFLATED, (Still,))
    assert (["truncated-archive"], ["a"]) == ((found := opened(zip_of(("a", b"a")))).rules, found.unread)
