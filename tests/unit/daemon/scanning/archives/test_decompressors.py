"""All decompressors keep the same promises, however small the pieces are."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_daemon.scanning.archives import inflate
from wharfinger_daemon.scanning.archives.streams import CODECS, CompressedStream, damage_of
from wharfinger_daemon.scanning.archives.view import View

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = b"".join(b"%d\n" % (number * number) for number in range(2000))


def _zip_lzma(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", content)
        size = archive.getinfo("a").compress_size
    return buffer.getvalue()[31 : 31 + size]


def _gzip_with_everything(content: bytes) -> bytes:
    """A header with all optional fields (RFC 1952)."""
    header = b"\x1f\x8b\x08" + bytes([2 | 4 | 8 | 16]) + b"\0" * 6 + b"\3\0abc" + b"name\0" + b"comment\0" + b"\0\0"
    return header + zlib.compress(content, wbits=-15) + struct.pack("<LL", zlib.crc32(content), len(content))


KINDS: list[tuple[Callable[[], inflate.Decompressor], Callable[[bytes], bytes]]] = [
    (inflate.isal_gzip, gzip.compress),
    (inflate.GzipMember, gzip.compress),
    (inflate.GzipMember, _gzip_with_everything),
    (inflate.isal_deflate, lambda content: zlib.compress(content, wbits=-15)),
    (inflate.zlib_deflate, lambda content: zlib.compress(content, wbits=-15)),
    (inflate.bzip2, bz2.compress),
    (inflate.xz, lzma.compress),
    (inflate.ZipLzma, _zip_lzma),
    (inflate.zstandard, zstd.compress),
]


@pytest.mark.parametrize(("make", "pack"), KINDS)
@pytest.mark.parametrize(("given_bytes", "taken_bytes"), [(1, 1), (7, 1000), (100_000, 100), (100_000, 100_000)])
def test_content_comes_out_whole_in_pieces_of_any_size(
    make: Callable[[], inflate.Decompressor], pack: Callable[[bytes], bytes], given_bytes: int, taken_bytes: int
) -> None:
    """Never more than was asked for, and what stands behind the end is handed back."""
    source = io.BytesIO(pack(CONTENT) + b"behind")
    decompressor = make()
    content = bytearray()
    while not decompressor.eof:
        piece = decompressor.decompress(source.read(given_bytes) if decompressor.needs_input else b"", taken_bytes)
        assert len(piece) <= taken_bytes
        content += piece
    assert CONTENT == bytes(content)
    assert b"behind" == decompressor.unused_data + source.read()


def test_stored_bytes_come_in_pieces_too() -> None:
    stored = inflate.StoredBytes()
    assert [b"ab", b"c", b""] == [stored.decompress(b"abc", 2), stored.decompress(b"", 2), stored.decompress(b"")]
    assert stored.needs_input
    assert not stored.eof
    assert b"" == stored.unused_data


def test_nothing_stands_behind_what_has_not_begun() -> None:
    assert b"" == inflate.ZipLzma().unused_data


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\6\0" + b"\x5d" + struct.pack("<L", 4096),
        b"\0\0\5\0" + b"\xe1" + struct.pack("<L", 4096),
        b"\0\0\5\0" + b"\x5d" + struct.pack("<L", 2**31),
    ],
)
def test_lzma_properties_that_are_damaged_or_demand_too_much_memory(head: bytes) -> None:
    with pytest.raises(lzma.LZMAError):
        inflate.ZipLzma().decompress(head + b"\0")


def test_zstandard_that_demands_too_much_memory_is_unsupported() -> None:
    """A window is held in memory as a whole; 256 MiB is more than is given."""
    options = {zstd.CompressionParameter.window_log: 28, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    packed = compressor.compress(b"x") + compressor.flush()
    with pytest.raises(zstd.ZstdError) as caught:
        inflate.zstandard().decompress(packed)
    assert "unsupported-compression" == damage_of(caught.value).rule


def test_xz_that_demands_too_much_memory_is_unsupported() -> None:
    """A dictionary of 1.5 GiB, which the decoder would allocate."""
    packed = bytearray(lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]))
    properties = packed.index(b"\x21\x01\x00", 12)
    packed[properties + 2] = 39
    packed[12 + 8 : 12 + 12] = struct.pack("<L", zlib.crc32(bytes(packed[12 : 12 + 8])))
    with pytest.raises(lzma.LZMAError) as error:
        inflate.xz().decompress(bytes(packed))
    assert "unsupported-compression" == damage_of(error.value).rule


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3), st.integers(0, 500), st.integers(1, 300))
def test_streams_in_a_row_with_padding(contents: list[bytes], padding: int, count: int) -> None:
    """A reader of any appetite gets all of them."""
    packed = b"".join(gzip.compress(content) + b"\0" * padding for content in contents)
    charged: list[int] = []
    stream = CompressedStream(View(io.BytesIO(packed)), CODECS[0], charged.append)
    read = bytearray()
    while piece := stream.read(count):
        read += piece
    assert b"".join(contents) == bytes(read)
    assert (None, None, None) == (stream.damage, stream.flaw, stream.trailing_at)
    assert len(read) == sum(charged)


@given(st.data())
def test_gzip_damaged_anywhere_gives_a_beginning_of_the_content(data: st.DataObject) -> None:
    """Whatever byte is changed: nothing is raised, and what comes out before the damage is right."""
    packed = bytearray(gzip.compress(CONTENT, mtime=0))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    stream = CompressedStream(View(io.BytesIO(bytes(packed))), CODECS[0], lambda count: None)
    read = stream.read(10 * len(CONTENT))
    assert b"" == stream.read(1)
    if read != CONTENT:
        assert stream.damage is not None or stream.flaw is not None or stream.trailing_at is not None


def test_a_decompressor_that_stands_still_is_ended() -> None:
    """No library does so; if one did, a worker would turn for ever."""

    class Still:
        eof = False
        needs_input = False
        unused_data = b""

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            return b""

    from dataclasses import replace

    stream = CompressedStream(
        View(io.BytesIO(b"\x1f\x8b\x08")), replace(CODECS[0], makers=(Still,)), lambda count: None
    )
    assert b"" == stream.read(1)
    assert stream.damage is not None


def test_a_view_behaves_like_a_file() -> None:
    view = View(io.BytesIO(b"0123456789"), 2, 5)
    assert (5, True) == (view.length, view.seekable())
    assert (4, b"6") == (view.seek(-1, io.SEEK_END), view.read())
    assert (1, b"345") == (view.seek(1), view.read(3))
    assert (3, b"56") == (view.seek(-1, io.SEEK_CUR), view.read(9))
    assert b"" == (view.seek(100), view.read())[1]
    assert b"34" == view.at(1, 2)
    assert b"" == view.part(3, 1).read()
    with pytest.raises(ValueError, match="negative"):
        view.seek(-1)
