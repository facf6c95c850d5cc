"""What gzip, bzip2, xz and Zstandard files unpack to, piece by piece, damaged or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wharfinger_daemon.scanning.archives import inflate
from wharfinger_daemon.scanning.archives.limits import LimitReached
from wharfinger_daemon.scanning.archives.view import View

PIECE_BYTES = 256 * 1024
OUTPUT_BYTES = 1024 * 1024
# What is unpacked in the same piece as the damage is lost, so that damaged data is unpacked in small ones, as pip does.
_SMALL_OUTPUT_BYTES = 4096


# Frames that hold no content may stand anywhere, also first (RFC 8878, 3.1.2).
_SKIPPABLE_FRAMES = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))


@dataclass(frozen=True)
class Codec:
    """A compression format.

    Attributes:
        suffix: what file names end with, without the dot.
        magics: what every stream begins with, all of one length.
        makers: decompressors in order of preference; a later one goes on where an earlier one refuses.
    """

    suffix: str
    magics: tuple[bytes, ...]
    makers: tuple[Callable[[], inflate.Decompressor], ...]


CODECS = (
    Codec("gz", (b"\x1f\x8b\x08",), (inflate.isal_gzip, inflate.GzipMember)),
    Codec("bz2", (b"BZh",), (inflate.bzip2,)),
    Codec("xz", (b"\xfd7zXZ\0",), (inflate.xz,)),
    Codec("zst", (b"\x28\xb5\x2f\xfd", *_SKIPPABLE_FRAMES), (inflate.zstandard,)),
)


@dataclass(frozen=True)
class Damage:
    """Why the reading of compressed data ended before its end."""

    rule: str
    message: str


BAD_CHECKSUM = Damage("bad-checksum", "The checksum of the compressed data is wrong.")
TRUNCATED = Damage("truncated-archive", "The compressed data ends too early.")


def damage_of(error: Exception) -> Damage:
    """The anomaly that a decoding error is; lzma and zstd tell only by their messages."""
    text = str(error).lower()
    if "memory usage limit" in text or "dictionary" in text or "too much memory" in text:
        return Damage("unsupported-compression", "The compression needs a larger dictionary than is allowed.")
    return Damage("corrupt-data", "The compressed data is damaged.")


class CompressedStream:
    """Reads what a compressed file unpacks to; several streams in a row are one, as in tarfile.

    It never raises for content: once ``read`` has returned nothing, ``damage`` says why it ended early, and ``flaw``
    what is wrong although all was read. Zeros after the last stream are padding; ``trailing_at`` is where anything else
    begins.

    Args:
        charge: told of each piece that was unpacked. What it raises passes through once, and ends the stream.
    """

    def __init__(self, source: View, codec: Codec, charge: Callable[[int], None]) -> None:
        self._source = source
        self._codec = codec
        self._charge = charge
        self._buffer = bytearray()
        self._ended = False
        self._delivered = 0
        self._output_bytes = OUTPUT_BYTES
        self._begin_again(codec.makers)
        self.damage: Damage | None = None
        self.flaw: Damage | None = None
        self.trailing_at: int | None = None

    def _begin_again(self, makers: tuple[Callable[[], inflate.Decompressor], ...]) -> None:
        self._makers = makers
        self._decompressor: inflate.Decompressor | None = None
        self._given = b""
        self._streams = 0
        # What an earlier decompressor delivered is passed over.
        self._pass_over = self._delivered
        self._source.seek(0)

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes, fewer only at the end."""
        while len(self._buffer) < count and not self._ended:
            self._more()
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece

    def _more(self) -> None:
        try:
            piece = self._unpack()
        except inflate.DECODING_ERRORS as error:
            if len(self._makers) > 1:
                self._begin_again(self._makers[1:])
            elif self._output_bytes > _SMALL_OUTPUT_BYTES:
                self._output_bytes = _SMALL_OUTPUT_BYTES
                self._begin_again(self._makers)
            else:
                self._end(damage_of(error))
            return
        kept = piece[self._pass_over :]
        self._pass_over -= len(piece) - len(kept)
        self._delivered += len(kept)
        self._buffer += kept
        try:
            self._charge(len(kept))
        except LimitReached:
            self._end()
            raise

    def _end(self, damage: Damage | None = None) -> None:
        self._ended = True
        self.damage = damage

    def _unpack(self) -> bytes:
        if self._decompressor is None:
            self._begin_stream()
            return b""
        if self._decompressor.eof:
            if isinstance(self._decompressor, inflate.GzipMember) and self._decompressor.bad_checksum:
                self.flaw = BAD_CHECKSUM
            self._given = self._decompressor.unused_data
            self._decompressor = None
            return b""
        given = b""
        if self._decompressor.needs_input:
            given = self._given or self._source.read(PIECE_BYTES)
            self._given = b""
            if not given:
                self._end(TRUNCATED)
                return b""
        piece = self._decompressor.decompress(given, self._output_bytes)
        if not (given or piece or self._decompressor.needs_input or self._decompressor.eof):
            raise ValueError("The decompressor wants nothing and gives nothing.")
        return piece

    def _begin_stream(self) -> None:
        magics = self._codec.magics
        if self._streams:
            self._given = self._given.lstrip(b"\0")
        if len(self._given) < len(magics[0]):
            more = self._source.read(PIECE_BYTES)
            self._given += more
            if more:
                return
        if not self._given:
            self._end()
        elif self._streams and not self._given.startswith(magics):
            self.trailing_at = self._source.tell() - len(self._given)
            self._end()
        else:
            self._decompressor = self._makers[0]()
            self._streams += 1
