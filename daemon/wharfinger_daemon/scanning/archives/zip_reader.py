"""Members of a zip archive, by its directory."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, cast

from isal import isal_zlib

from wharfinger_daemon.scanning.archives import inflate
from wharfinger_daemon.scanning.archives.kinds import ZipEnd
from wharfinger_daemon.scanning.archives.limits import ArchiveLimits, Budget, LimitReached
from wharfinger_daemon.scanning.archives.names import SeenNames, oddities
from wharfinger_daemon.scanning.archives.observations import Observer
from wharfinger_daemon.scanning.archives.streams import OUTPUT_BYTES, PIECE_BYTES, TRUNCATED, Damage, damage_of
from wharfinger_daemon.scanning.archives.view import View
from wharfinger_daemon.scanning.archives.zip_layout import (
    FLAG_DESCRIPTOR,
    FLAG_ENCRYPTED,
    MOST_FIELD_BYTES,
    Extent,
    LocalHeader,
    descriptions,
    differences,
    gaps,
    other_names,
    overlaps,
    read_local_header,
)

# A directory entry is 46 bytes, a name and extra fields; this much on average is beyond anything that is in use.
_ENTRY_BYTES = 1024
_HIDDEN_REGIONS = 20
_BEHIND = "{} bytes stand behind the end of the member's compressed data."
_ZIP_ZSTANDARD = 93  # APPNOTE 4.4.5; zipfile knows it from Python 3.14 on

_METHODS: dict[int, tuple[Callable[[], inflate.Decompressor], ...]] = {
    zipfile.ZIP_STORED: (inflate.StoredBytes,),
    zipfile.ZIP_DEFLATED: (inflate.isal_deflate, inflate.zlib_deflate),
    zipfile.ZIP_BZIP2: (inflate.bzip2,),
    zipfile.ZIP_LZMA: (inflate.ZipLzma,),
    _ZIP_ZSTANDARD: (inflate.zstandard,),
}


@dataclass(frozen=True)
class _Unpacked:
    """A member's content, one byte more than the directory says if there is more, and what was packed behind it."""

    content: bytes
    behind: bytes


class ZipReader:
    """Opens the archive at once, and reads members as they are asked for.

    Raises:
        Exception: from the constructor, anything that zipfile raises when the directory cannot be read.
        LimitReached: the directory alone is too large.
    """

    def __init__(self, view: View, end: ZipEnd, limits: ArchiveLimits, budget: Budget, observer: Observer) -> None:
        self._view = view
        self._end = end
        self._limits = limits
        self._budget = budget
        self._observer = observer
        if end.directory_bytes > limits.members * _ENTRY_BYTES:
            raise LimitReached("too-many-members", f"There are more than {limits.members} members.")
        with zipfile.ZipFile(cast("IO[bytes]", view)) as archive:
            infos = archive.infolist()
            self._directory_at: int = archive.start_dir
            self._described = [archive.comment] if archive.comment else []
        if len(infos) != end.entries:
            observer.note(
                "zip-entry-count-mismatch", f"The directory has {len(infos)} entries instead of {end.entries}."
            )
        self._infos = self._admitted(infos)
        self._locals = [read_local_header(view, info.header_offset) for info in self._infos]
        self.names = [info.filename for info in self._infos]
        # With only a part of the members, the others would look like bytes that belong to none.
        self._hidden = self._inspect_layout() if len(self._infos) == len(infos) else []

    def _admitted(self, infos: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
        for index in range(len(infos)):
            try:
                self._budget.admit()
            except LimitReached as reached:
                self._observer.stop(reached)
                return infos[:index]
        return infos

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents, in the directory's order, then what stands where no member is.

        Raises:
            LimitReached: nothing more may be read.
        """
        seen = SeenNames()
        for info, local in zip(self._infos, self._locals, strict=True):
            self._inspect(info, local, seen)
            if info.is_dir() and info.file_size == 0:
                continue
            unpacked = self._content(info, local)
            if unpacked is not None:
                yield info.filename, unpacked.content
                if unpacked.behind:
                    self._observer.note("zip-unlisted-data", _BEHIND.format(len(unpacked.behind)), info.filename)
                    yield f"!behind/{info.filename}", unpacked.behind
        if self._described:
            yield "!comments", b"\n".join(self._described)
        for label, start, end in self._hidden:
            if end - start > self._limits.member_bytes:
                self._observer.skip("member-too-large", "The data that belongs to no member is too large.", label)
            else:
                self._budget.spend(end - start)
                yield label, self._view.at(start, end - start)

    def _inspect(self, info: zipfile.ZipInfo, local: LocalHeader | None, seen: SeenNames) -> None:
        note = self._observer.note
        for rule, message in oddities(info.filename):
            note(rule, message, info.filename)
        collision = seen.collision(info.filename)
        if collision is not None and not info.is_dir():
            note(*collision, info.filename)
        self._described += descriptions(info)
        if local is not None and local.extra_bytes > MOST_FIELD_BYTES:
            self._described.append(self._view.at(local.data_at - local.extra_bytes, local.extra_bytes))
        for name in other_names(info):
            note("ambiguous-name", f"Other tools would call it {name[:200]!r}.", info.filename)
        mode = info.external_attr >> 16
        if stat.S_ISLNK(mode):
            note("link-member", "The member is a symbolic link; its target is read as its content.", info.filename)
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            note("device-member", "The member is marked as a device, a pipe or a socket.", info.filename)
        if local is not None:
            for what in differences(info, local):
                note("zip-local-header-mismatch", f"Local header and directory differ in the {what}.", info.filename)

    def _inspect_layout(self) -> list[tuple[str, int, int]]:
        """Notes what is odd in the arrangement; returns the regions that belong to no member."""
        extents = sorted(
            (
                Extent(info.header_offset, local.data_at + info.compress_size, _has_descriptor(info, local), name)
                for info, local, name in zip(self._infos, self._locals, self.names, strict=True)
                if local is not None
            ),
            key=lambda extent: (extent.start, extent.end),
        )
        for name in overlaps(extents, self._directory_at):
            self._observer.note("zip-overlapping-members", "The member shares bytes with another part.", name)
        first = extents[0].start if extents else self._directory_at
        hidden = []
        if first > 0:
            self._observer.note("prepended-data", f"{first} bytes stand before the archive.")
            hidden.append(("!prepended-data", 0, first))
        for number, gap in enumerate(gaps(extents, self._directory_at), start=1):
            message = f"{gap.end - gap.start} bytes at {gap.start} belong to no member of the directory."
            if number > _HIDDEN_REGIONS:
                self._observer.skip("zip-unlisted-data", message)
                break
            self._observer.note("zip-unlisted-data", message)
            hidden.append((f"!unlisted-data-{number}", gap.start, gap.end))
        return hidden + self._inspect_end()

    def _inspect_end(self) -> list[tuple[str, int, int]]:
        end = self._end
        if end.end > self._view.length:
            self._observer.note("truncated-archive", "The archive's comment ends too early.")
        elif end.end < self._view.length:
            surplus = self._view.length - end.end
            self._observer.note("trailing-data", f"{surplus} bytes stand behind the archive.")
            return [("!trailing-data", end.end, self._view.length)]
        return []

    def _content(self, info: zipfile.ZipInfo, local: LocalHeader | None) -> _Unpacked | None:
        name, skip = info.filename, self._observer.skip
        makers = _METHODS.get(info.compress_type)
        if local is None:
            skip("truncated-archive", "There is no member where the directory says.", name)
        elif info.flag_bits & FLAG_ENCRYPTED:
            skip("encrypted-member", "The member is encrypted.", name)
        elif makers is None:
            skip("unsupported-compression", f"Compression method {info.compress_type} is not supported.", name)
        elif info.file_size > self._limits.member_bytes:
            skip("member-too-large", f"The member unpacks to {info.file_size} bytes.", name)
        else:
            return self._checked(info, self._unpacked(info, local.data_at, makers))
        return None

    def _unpacked(
        self, info: zipfile.ZipInfo, data_at: int, makers: tuple[Callable[[], inflate.Decompressor], ...]
    ) -> _Unpacked | Damage:
        """ISA-L first, then zlib, which pip uses."""
        result: _Unpacked | Damage = TRUNCATED
        for maker in makers:
            try:
                result = self._inflated(maker(), self._view.part(data_at, data_at + info.compress_size), info.file_size)
            except inflate.DECODING_ERRORS as error:
                result = damage_of(error)
            if isinstance(result, _Unpacked) and isal_zlib.crc32(result.content[: info.file_size]) == info.CRC:
                break
        return result

    def _inflated(self, decompressor: inflate.Decompressor, packed: View, size: int) -> _Unpacked | Damage:
        pieces: list[bytes] = []
        length = 0
        while length <= size and not decompressor.eof:
            given = packed.read(PIECE_BYTES) if decompressor.needs_input else b""
            if decompressor.needs_input and not given:
                break
            piece = decompressor.decompress(given, min(OUTPUT_BYTES, size + 1 - length))
            if not (given or piece or decompressor.needs_input):
                break  # it wants nothing and gives nothing
            self._budget.spend(len(piece))
            pieces.append(piece)
            length += len(piece)
        if length < size:
            return TRUNCATED
        behind = decompressor.unused_data + packed.read() if decompressor.eof else b""
        self._budget.spend(len(behind))
        return _Unpacked(b"".join(pieces), behind)

    def _checked(self, info: zipfile.ZipInfo, unpacked: _Unpacked | Damage) -> _Unpacked | None:
        if isinstance(unpacked, Damage):
            self._observer.skip(unpacked.rule, unpacked.message, info.filename)
            return None
        content = unpacked.content[: info.file_size]
        if len(unpacked.content) > info.file_size:
            self._observer.skip(
                "zip-size-mismatch",
                f"The member goes on after the {info.file_size} bytes it should have.",
                info.filename,
            )
        if isal_zlib.crc32(content) != info.CRC:
            self._observer.note("bad-checksum", "The member's checksum is wrong.", info.filename)
        return _Unpacked(content, unpacked.behind)


def _has_descriptor(info: zipfile.ZipInfo, local: LocalHeader) -> bool:
    return bool((info.flag_bits | local.flags) & FLAG_DESCRIPTOR)
