"""What a file is, decided by its content.

Several answers are possible: a zip archive is found from its end, everything else from its beginning. The name decides
only how strict the end of a zip archive must be, because there pip goes by the name too.
"""

from __future__ import annotations

import struct
import tarfile
from dataclasses import dataclass
from enum import Enum, auto

from wharfinger_daemon.scanning.archives.streams import CODECS, Codec
from wharfinger_daemon.scanning.archives.view import View

END_SIGNATURE = b"PK\x05\x06"
LOCAL_SIGNATURE = b"PK\x03\x04"
_ENTRY_SIGNATURE = b"PK\x01\x02"
_END_64_SIGNATURE = b"PK\x06\x06"
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64_BYTES = 20
END_BYTES = 22
_MAX_COMMENT_BYTES = 0xFFFF
_ZIP_SUFFIXES = (".whl", ".zip", ".egg")


@dataclass(frozen=True)
class ZipEnd:
    """The end of a zip archive.

    Attributes:
        directory_end: where the directory should end.
        directory_bytes: how long it should be.
        entries: how many entries it should have.
        end: where the file should end.
    """

    directory_end: int
    directory_bytes: int
    entries: int
    end: int


class Kind(Enum):
    """What is opened without decompression."""

    ZIP = auto()
    TAR = auto()
    BROKEN_ZIP = auto()
    """Begins like a zip archive, and its directory is missing."""


def find_zip_end(view: View) -> ZipEnd | None:
    """Finds the record as zipfile does: the last one, wherever its comment ends."""
    start = max(view.length - END_BYTES - _MAX_COMMENT_BYTES, 0)
    tail = view.at(start, END_BYTES + _MAX_COMMENT_BYTES)
    at = len(tail) - END_BYTES
    if at < 0:
        return None
    if not (tail.startswith(END_SIGNATURE, at) and tail.endswith(b"\0\0")):
        at = tail.rfind(END_SIGNATURE)
    if at < 0 or len(tail) - at < END_BYTES:
        return None
    fields = _END.unpack(tail[at : at + END_BYTES])
    found = ZipEnd(
        directory_end=start + at,
        directory_bytes=fields[5],
        entries=fields[4],
        end=start + at + END_BYTES + fields[7],
    )
    return _zip64_end(view, found) or found


def _zip64_end(view: View, end: ZipEnd) -> ZipEnd | None:
    """The zip64 record, where zipfile expects it: in front of its locator, which stands in front of the end record."""
    at = end.directory_end - _LOCATOR_64_BYTES - _END_64.size
    raw = view.at(at, _END_64.size) if at >= 0 else b""
    if not raw.startswith(_END_64_SIGNATURE):
        return None
    fields = _END_64.unpack(raw)
    return ZipEnd(directory_end=at, directory_bytes=fields[8], entries=fields[7], end=end.end)


def is_tar_header(block: bytes) -> bool:
    """Whether the block is a tar header with a right checksum, of any dialect."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def kinds_of(view: View, name: str) -> list[Kind | Codec]:
    """Everything that the file can be opened as; empty if it is no archive."""
    head = view.at(0, tarfile.BLOCKSIZE)
    by_name = name.lower().endswith(_ZIP_SUFFIXES)
    kinds: list[Kind | Codec] = [codec for codec in CODECS if head.startswith(codec.magics)]
    if not kinds and is_tar_header(head):
        kinds.append(Kind.TAR)
    end = find_zip_end(view)
    if end is not None and not _has_directory(view, end, by_name):
        end = None
    # Inside a tar file or a compressed one, the end of a zip archive may belong to a member that happens to be last.
    if end is not None and (not kinds or by_name or end.end == view.length):
        kinds.insert(0, Kind.ZIP)
    elif not kinds and head.startswith(LOCAL_SIGNATURE):
        kinds.append(Kind.BROKEN_ZIP)
    return kinds


def _has_directory(view: View, end: ZipEnd, by_name: bool) -> bool:
    """Tells a zip archive from a program that merely contains the signature, as every zip tool does."""
    if end.directory_bytes == 0:
        return by_name or end.directory_end == 0
    return view.at(end.directory_end - end.directory_bytes, 4) == _ENTRY_SIGNATURE
