"""Archives made for tests: harmless bytes in odd arrangements."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wharfinger_daemon.scanning.archives import ArchiveLimits, open_artifact
from wharfinger_daemon.scanning.plugin import ArtifactFormat

KIB = 1024

# Small, so that what goes beyond them is quickly made.
SMALL = ArchiveLimits(
    total_bytes=2048 * KIB, member_bytes=256 * KIB, members=20, ratio=50, nesting_depth=2, ratio_floor_bytes=512 * KIB
)


@dataclass(frozen=True)
class Opened:
    """All that came of opening an artifact."""

    format: ArtifactFormat
    names: Sequence[str]
    contents: dict[str, bytes]
    order: list[str]
    rules: list[str]
    unread: list[str]
    places: dict[str, str]


def opened(artifact: bytes, filename: str = "", limits: ArchiveLimits = SMALL) -> Opened:
    """Opens the artifact and reads it to its end."""
    found = open_artifact(io.BytesIO(artifact), limits, filename)
    members = list(found.members())
    return Opened(
        format=found.format,
        names=found.member_names,
        contents={member.name: member.content for member in members},
        order=[member.name for member in members],
        rules=[anomaly.rule for anomaly in found.anomalies],
        unread=[unread.member for unread in found.unread],
        places={anomaly.rule: anomaly.member for anomaly in found.anomalies},
    )


def tar_of(*members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar archive; a bare header stands for itself, such as a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """The header of a link."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            archive.writestr(info, content, compress_type=method)
    return buffer.getvalue()


@dataclass(frozen=True)
class ZipEntry:
    """A zip member in which each description can lie; numbers are taken from the content where they are None."""

    name: bytes
    content: bytes = b""
    local_name: bytes | None = None
    method: int = 0
    local_method: int | None = None
    flags: int = 0
    local_flags: int | None = None
    size: int | None = None
    packed_size: int | None = None
    local_size: int | None = None
    local_packed_size: int | None = None
    local_crc: int | None = None
    crc: int | None = None
    offset: int | None = None
    external: int = 0
    central_extra: bytes = b""
    after: bytes = b""

    def local(self) -> bytes:
        """Header and data as they stand in front."""
        name = self.name if self.local_name is None else self.local_name
        method = self.method if self.local_method is None else self.local_method
        flags = self.flags if self.local_flags is None else self.local_flags
        size = self._size if self.local_size is None else self.local_size
        packed = self._packed if self.local_packed_size is None else self.local_packed_size
        crc = self._crc if self.local_crc is None else self.local_crc
        return (
            struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 0, crc, packed, size, len(name), 0)
            + name
            + self.content
            + self.after
        )

    def central(self, offset: int) -> bytes:
        """The entry in the directory."""
        return (
            struct.pack(
                "<4s6H3L5H2L",
                b"PK\1\2", 20 | 3 << 8, 20, self.flags, self.method, 0, 0, self._crc, self._packed, self._size,
                len(self.name), len(self.central_extra), 0, 0, 0, self.external,
                offset if self.offset is None else self.offset,
            )
            + self.name
            + self.central_extra
        )  # fmt: skip

    @property
    def _crc(self) -> int:
        return zlib.crc32(self.content) if self.crc is None else self.crc

    @property
    def _size(self) -> int:
        return len(self.content) if self.size is None else self.size

    @property
    def _packed(self) -> int:
        return len(self.content) if self.packed_size is None else self.packed_size


def raw_zip(*entries: ZipEntry, count: int | None = None, comment: bytes = b"", between: bytes = b"") -> bytes:
    """A zip archive, byte by byte."""
    body = bytearray()
    directory = bytearray()
    for entry in entries:
        directory += entry.central(len(body))
        body += entry.local()
    number = len(entries) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, number, number, len(directory), len(body), len(comment))
    return bytes(body + directory) + between + end + comment


__all__ = ["KIB", "SMALL", "Opened", "ZipEntry", "link", "opened", "raw_zip", "replace", "tar_of", "zip_of"]
