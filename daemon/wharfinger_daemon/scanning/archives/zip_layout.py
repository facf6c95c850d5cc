"""Where the parts of a zip archive stand, and whether its two descriptions of each member agree.

A zip archive describes each member twice: in front of its data and in the directory at the end. Tools that trust one
and tools that trust the other see different packages if the two differ. The directory is read with zipfile, since that
is how pip reads it; everything else is compared with it.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wharfinger_daemon.scanning.archives.kinds import LOCAL_SIGNATURE
from wharfinger_daemon.scanning.archives.view import View

_LOCAL = struct.Struct("<4s5H3L2H")
_SHORT_NAME_BYTES = 160
_IN_EXTRA_FIELD = 0xFFFFFFFF
_UNICODE_PATH = 0x7075

# Sizes, times, owners, names and comments in Unicode, and the mark of Java archives.
_USUAL_FIELDS = frozenset({0x0001, 0x000A, 0x5455, 0x5855, 0x7855, 0x7875, _UNICODE_PATH, 0x6375, 0xCAFE})
MOST_FIELD_BYTES = 64

FLAG_ENCRYPTED = 0x1
FLAG_DESCRIPTOR = 0x8
FLAG_UTF8 = 0x800

# With and without signature, with sizes of 4 and of 8 bytes (APPNOTE 4.3.9).
_DESCRIPTOR_BYTES = (12, 16, 20, 24)


@dataclass(frozen=True)
class LocalHeader:
    """The description in front of a member's data; ``data_at`` is where the data begins."""

    flags: int
    method: int
    crc: int
    packed: int
    unpacked: int
    name: bytes
    data_at: int
    extra_bytes: int


@dataclass(frozen=True)
class Region:
    """Bytes from ``start`` to ``end`` that belong to no member."""

    start: int
    end: int


def read_local_header(view: View, at: int) -> LocalHeader | None:
    """The header at a place; None if there is none."""
    # Most names are short: one reading is enough.
    raw = view.at(at, _LOCAL.size + _SHORT_NAME_BYTES)
    if len(raw) < _LOCAL.size or not raw.startswith(LOCAL_SIGNATURE):
        return None
    _, _, flags, method, _, _, crc, packed, unpacked, name_bytes, extra_bytes = _LOCAL.unpack_from(raw)
    name = raw[_LOCAL.size : _LOCAL.size + name_bytes]
    if name_bytes > _SHORT_NAME_BYTES:
        name = view.at(at + _LOCAL.size, name_bytes)
    data_at = at + _LOCAL.size + name_bytes + extra_bytes
    return LocalHeader(flags, method, crc, packed, unpacked, name, data_at, extra_bytes)


def differences(info: zipfile.ZipInfo, local: LocalHeader) -> Iterator[str]:
    """What the local header says otherwise than the directory."""
    encoding = "utf-8" if info.flag_bits & FLAG_UTF8 else "cp437"
    if local.name != info.orig_filename.encode(encoding, "replace"):
        yield "name"
    if local.method != info.compress_type:
        yield "compression method"
    if (local.flags ^ info.flag_bits) & FLAG_ENCRYPTED:
        yield "encryption"
    if local.flags & FLAG_DESCRIPTOR:
        return  # the numbers follow the data
    if local.unpacked not in (info.file_size, _IN_EXTRA_FIELD):
        yield "size"
    if local.packed not in (info.compress_size, _IN_EXTRA_FIELD):
        yield "packed size"
    if local.crc != info.CRC:
        yield "checksum"


def other_names(info: zipfile.ZipInfo) -> Iterator[str]:
    """Names that other tools would give the member: beyond a NUL, or in the Unicode path field (APPNOTE 4.6.9)."""
    if "\0" in info.orig_filename:
        yield info.orig_filename
    for kind, field in _fields(info.extra):
        if kind == _UNICODE_PATH and len(field) > 5:
            name = field[5:].decode("utf-8", "replace")
            if name != info.filename:
                yield name


def descriptions(info: zipfile.ZipInfo) -> Iterator[bytes]:
    """What the directory says of the member in free form: its comment, and extra fields of unusual kinds or sizes."""
    if info.comment:
        yield info.comment
    for kind, field in _fields(info.extra):
        if kind not in _USUAL_FIELDS or len(field) > MOST_FIELD_BYTES:
            yield field


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Extra fields by their kinds (APPNOTE 4.5); what is left over and is no field has the kind -1."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        yield kind, extra[4 : 4 + size]
        extra = extra[4 + size :]
    if extra:
        yield -1, extra


@dataclass(frozen=True)
class Extent:
    """From where to where a member stands, its header included."""

    start: int
    end: int
    has_descriptor: bool
    name: str


def overlaps(extents: Sequence[Extent], directory_at: int) -> Iterator[str]:
    """Names of members that share bytes with a member before them or with the directory; give them in order."""
    reached = 0
    for extent in extents:
        if extent.start < reached or extent.end > directory_at:
            yield extent.name
        reached = max(reached, extent.end)


def gaps(extents: Sequence[Extent], directory_at: int) -> Iterator[Region]:
    """Regions between members, or between the last one and the directory, that belong to none; give them in order.

    What stands before the first member is not among them.
    """
    for extent, following in zip(extents, [*(e.start for e in extents[1:]), directory_at], strict=False):
        size = following - extent.end
        if size > 0 and not (extent.has_descriptor and size in _DESCRIPTOR_BYTES):
            # A descriptor and more: all of it is shown, since its form is not known for certain.
            yield Region(extent.end, following)
