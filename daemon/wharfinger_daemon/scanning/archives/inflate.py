"""Decompression that unpacks no more than it is asked for.

Deflate runs on ISA-L, which is twice as fast as zlib. What ISA-L refuses is tried again with zlib, because zlib is what
installs the package: content must not hide behind a difference between the two.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import sys
import zlib
from typing import Protocol, cast

from isal import igzip_lib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LZMA_MEMORY_BYTES = 128 * 1024 * 1024
# 128 MiB, the largest window that the zstd program accepts unless it is told otherwise (RFC 8878, 3.1.1.1.2).
_ZSTD_WINDOW_LOG = 27

# The stubs of isal take the class for an instance.
_ISAL_ERROR = cast("type[Exception]", igzip_lib.IsalError)
DECODING_ERRORS = (_ISAL_ERROR, zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError)


class Decompressor(Protocol):
    """The interface that bz2 and lzma have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed data was reached."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing to unpack without more input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the end."""
        ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Unpacks at most ``max_length`` bytes, keeping the input that is left."""
        ...


class ZlibDecompressor:
    """zlib with that interface."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self.eof and not self._full and not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As in ``Decompressor``; a full piece may have left more inside zlib, so that it is asked once more."""
        unpacked = self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))
        self._full = 0 < max_length == len(unpacked)
        return unpacked


class StoredBytes:
    """No compression, with that interface."""

    eof = False
    unused_data = b""

    def __init__(self) -> None:
        self._left = b""

    @property
    def needs_input(self) -> bool:
        return not self._left

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As in ``Decompressor``."""
        everything = self._left + data
        end = len(everything) if max_length < 0 else max_length
        self._left = everything[end:]
        return everything[:end]


def isal_gzip() -> Decompressor:
    """One gzip member, checksum verified."""
    decompressor: Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return decompressor


def isal_deflate() -> Decompressor:
    """A bare deflate stream, as in zip."""
    decompressor: Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    return decompressor


def zlib_deflate() -> Decompressor:
    """The same with zlib."""
    return ZlibDecompressor(-zlib.MAX_WBITS)


def bzip2() -> Decompressor:
    """One bzip2 stream."""
    return bz2.BZ2Decompressor()


def xz() -> Decompressor:
    """One xz or lzma-alone stream, with a bounded dictionary."""
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)


def zstandard() -> Decompressor:
    """One Zstandard frame, skippable ones too (RFC 8878), with a bounded window."""
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


class ZipLzma:
    """Method 14 of zip: four bytes and the properties of LZMA1 stand before the raw stream (APPNOTE 5.8.8)."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: lzma.LZMADecompressor | None = None

    @property
    def eof(self) -> bool:
        return self._inner is not None and self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._inner is None or self._inner.needs_input

    @property
    def unused_data(self) -> bytes:
        return b"" if self._inner is None else self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As in ``Decompressor``.

        Raises:
            lzma.LZMAError: the properties or the stream are damaged, or the dictionary is larger than is allowed.
        """
        if self._inner is None:
            self._head += data
            if len(self._head) < 9:
                return b""
            self._inner, data = _raw_lzma(self._head[:9]), self._head[9:]
        return self._inner.decompress(data, max_length)


def _raw_lzma(head: bytes) -> lzma.LZMADecompressor:
    coded, dictionary = head[4], int.from_bytes(head[5:9], "little")
    if int.from_bytes(head[2:4], "little") != 5 or coded >= 225 or dictionary > _LZMA_MEMORY_BYTES:
        raise lzma.LZMAError("The LZMA properties are damaged, or its dictionary is too large.")
    chain = {
        "id": lzma.FILTER_LZMA1,
        "lc": coded % 9,
        "lp": coded // 9 % 5,
        "pb": coded // 45,
        "dict_size": max(dictionary, 4096),
    }
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain])


class GzipMember:
    """One gzip member (RFC 1952) with zlib, which goes on where ISA-L refuses.

    A wrong checksum is only noted, as Python's gzip module notes it: when all content has been delivered.
    """

    def __init__(self) -> None:
        self._body = ZlibDecompressor(-zlib.MAX_WBITS)
        self._head = b""
        self._tail = b""
        self._in_body = False
        self._checksum = 0
        self._length = 0
        self.eof = False
        self.bad_checksum = False
        self.unused_data = b""

    @property
    def needs_input(self) -> bool:
        return not self.eof and (not self._in_body or self._body.eof or self._body.needs_input)

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As in ``Decompressor``.

        Raises:
            zlib.error: the data is damaged.
        """
        if not self._in_body:
            self._head += data
            end = _gzip_header_end(self._head)
            if end is None:
                return b""
            data, self._in_body = self._head[end:], True
        if self._body.eof:
            self._end(data)
            return b""
        piece = self._body.decompress(data, max_length)
        self._checksum = zlib.crc32(piece, self._checksum)
        self._length += len(piece)
        if self._body.eof:
            self._end(self._body.unused_data)
        return piece

    def _end(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) >= 8:
            checksum, length = struct.unpack("<LL", self._tail[:8])
            self.bad_checksum = (checksum, length) != (self._checksum, self._length % 2**32)
            self.unused_data = self._tail[8:]
            self.eof = True


def _gzip_header_end(head: bytes) -> int | None:
    """Where the compressed data begins; None if the header is not complete."""
    flags = head[3] if len(head) > 3 else 0
    at: int = 10
    if flags & 4:  # an extra field of the length that stands before it
        at += 2 + int.from_bytes(head[10:12], "little")
    for text in (8, 16):  # a file name, a comment
        if flags & text:
            end = head.find(b"\0", at)
            if end < 0:
                return None
            at = end + 1
    if flags & 2:  # a checksum of the header
        at += 2
    return at if len(head) >= at else None
