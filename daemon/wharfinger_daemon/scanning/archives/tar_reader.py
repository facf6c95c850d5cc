"""Members of a tar archive.

tarfile reads the headers, since that is how pip reads them, from a stream that is never sought backwards. Two passes
are made, because checks may know all names before the first member: the first one for names, limits and damage, the
second one for contents, as far as the first one came.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol, cast

from wharfinger_daemon.scanning.archives.limits import ArchiveLimits, Budget, LimitReached
from wharfinger_daemon.scanning.archives.names import SeenNames, disguises, leads_outside, oddities
from wharfinger_daemon.scanning.archives.observations import Observer
from wharfinger_daemon.scanning.archives.streams import PIECE_BYTES

# A long name or a set of pax records; real ones are far below, and tarfile holds and searches them as a whole.
_EXTENSION_BYTES = 64 * 1024
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)

# Pax records that are names are examined as such; those of these kinds, if they are short, say nothing else.
_NAMES = frozenset({"path", "linkpath"})
_USUAL_RECORDS = frozenset({"size", "uname", "gname", "uid", "gid", "mtime", "atime", "ctime", "hdrcharset"})
_USUAL_VALUE_CHARACTERS = 64
# Offset and size of a piece of a sparse member, each of up to twelve digits and a line feed.
_LISTED_BYTES = 26

READ_ERRORS = (tarfile.TarError, ValueError, OverflowError, OSError, EOFError, KeyError, IndexError)


class Stream(Protocol):
    """Bytes that are read once, from the beginning."""

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes, fewer only at the end."""
        ...


class Source(Protocol):
    """Where an archive's bytes come from; they are read twice."""

    @property
    def failed(self) -> bool:
        """Whether the bytes ended early, for a reason that was noted already."""
        ...

    def open(self) -> Stream:
        """The bytes, from the beginning."""
        ...


_MOST_EMPTY_READS = 16


class _Tap:
    """Passes a stream on to tarfile and remembers the last piece, to see what stands behind the archive's end."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._total = 0
        self._last = b""
        self._empty = 0

    def read(self, count: int) -> bytes:
        piece = self._stream.read(count)
        if piece:
            self._last = piece
            self._total += len(piece)
        else:
            # tarfile skips a member by its declared size, piece by piece, however far beyond the end that is.
            self._empty += 1
            if self._empty > _MOST_EMPTY_READS:
                raise EOFError("a member's size leads beyond the end")
        return piece

    def behind(self, offset: int, limit: int) -> bytes:
        """What stands at the offset and behind, without leading zeros; one byte more than the limit if it is longer.

        The offset lies in the last piece, or before it by less than what was zero anyway.
        """
        rest = self._last[max(offset - (self._total - len(self._last)), 0) :].lstrip(b"\0")
        while len(rest) <= limit and (piece := self._stream.read(PIECE_BYTES)):
            rest = (rest + piece).lstrip(b"\0")
        return rest[: limit + 1]


@dataclass
class _Walk:
    """Headers one after another, and how they ended."""

    stream: _Tap
    offset: int = 0
    last_header: str = ""

    def __iter__(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        with tarfile.open(
            fileobj=cast("IO[bytes]", self.stream),
            mode="r|",
            bufsize=PIECE_BYTES,
            tarinfo=self._guarded_header(),
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            while (info := archive.next()) is not None:
                # tarfile would keep every header.
                archive.members.clear()  # type: ignore[attr-defined]
                yield info, archive
            self.offset = archive.offset

    def _guarded_header(self) -> type[tarfile.TarInfo]:
        walk = self

        class GuardedHeader(tarfile.TarInfo):
            """A header that does not make tarfile read without bounds, and that tells how the archive ended."""

            stated_size = 0

            @classmethod
            def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> GuardedHeader:
                walk.last_header = "zeros" if buf and not any(buf) else "short" if len(buf) < 512 else "bad"
                info = super().frombuf(buf, encoding, errors)
                info.stated_size = info.size
                if info.size < 0:
                    raise tarfile.InvalidHeaderError("negative size")  # type: ignore[attr-defined]  # typeshed lacks it
                if info.type in _EXTENSIONS and info.size > _EXTENSION_BYTES:
                    raise LimitReached("oversized-header", f"A header of {info.size} bytes is not read.")
                walk.last_header = "good"
                return info

        return GuardedHeader


class TarReader:
    """Opens the archive by reading all headers.

    Damage and limits are noted, and end the archive there.
    """

    def __init__(self, source: Source, limits: ArchiveLimits, budget: Budget, observer: Observer) -> None:
        self._source = source
        self._limits = limits
        self._budget = budget
        self._observer = observer
        self._trailing = b""
        self._damaged = False
        self._records: dict[str, None] = {}
        self._record_bytes = 0
        self.names: list[str] = []
        self._first_pass()

    def _first_pass(self) -> None:
        walk = _Walk(_Tap(self._source.open()))
        seen = SeenNames()
        try:
            for info, _ in walk:
                self._budget.admit()
                self.names.append(info.name)
                self._inspect(info, seen)
            self._inspect_end(walk)
        except LimitReached as reached:
            self._observer.stop(reached)
        except READ_ERRORS as error:
            self._stopped_by(error)

    def _inspect(self, info: tarfile.TarInfo, seen: SeenNames) -> None:
        note = self._observer.note
        for rule, message in oddities(info.name):
            note(rule, message, info.name)
        collision = seen.collision(info.name)
        if collision is not None and not info.isdir():
            note(*collision, info.name)
        self._inspect_records(info)
        if info.issym() or info.islnk():
            self._inspect_link(info)
        elif info.isdev():
            note("device-member", "The member is a device or a pipe.", info.name)

    def _inspect_records(self, info: tarfile.TarInfo) -> None:
        stated = getattr(info, "stated_size", info.size)
        if "size" in info.pax_headers and info.size != stated:
            # Readers that go by the header find other members behind this one.
            message = f"The header says {stated} bytes, its pax record {info.size}; tools differ in which one they use."
            self._observer.note("tar-size-mismatch", message, info.name)
        for key, value in info.pax_headers.items():
            if key not in _NAMES and (key not in _USUAL_RECORDS or len(value) > _USUAL_VALUE_CHARACTERS):
                self._keep_record(f"{key}={value}", info.name)

    def _keep_record(self, record: str, name: str) -> None:
        if record in self._records:
            return  # from a global header, which counts for all members behind it
        self._record_bytes += len(record)
        if self._record_bytes > self._limits.member_bytes:
            raise LimitReached("oversized-header", f"The pax records up to {name!r} are too long.")
        self._records[record] = None

    def _inspect_link(self, info: tarfile.TarInfo) -> None:
        note = self._observer.note
        note("link-member", f"The member is a link to {info.linkname[:200]!r}.", info.name)
        if leads_outside(info.linkname, posixpath.dirname(info.name) if info.issym() else ""):
            note("link-escape", "The link leads out of the directory where it is unpacked.", info.name)
        if disguises(info.name, info.linkname):
            note("link-disguise", "The link gives content a name that is acted on, and hides it by another.", info.name)

    def _inspect_end(self, walk: _Walk) -> None:
        if walk.last_header == "zeros":
            self._inspect_trailing(walk)
        elif walk.last_header == "bad":
            # tarfile, and so pip, takes this for the end without a word.
            self._observer.note("corrupt-header", f"What follows the header before byte {walk.offset} is no header.")
            self._inspect_trailing(walk)
        elif not self._source.failed:
            self._observer.note("truncated-archive", "The archive has no end.")

    def _inspect_trailing(self, walk: _Walk) -> None:
        trailing = walk.stream.behind(walk.offset, self._limits.member_bytes)
        if len(trailing) > self._limits.member_bytes:
            self._observer.skip(
                "trailing-data", f"More than {self._limits.member_bytes} bytes stand behind the archive."
            )
        elif trailing:
            self._observer.note("trailing-data", f"{len(trailing)} bytes stand behind the archive.")
            self._trailing = trailing

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of everything that is a file to pip, in order, then what stands behind the archive.

        Raises:
            LimitReached: nothing more may be read.
        """
        try:
            # The names first: where they end, the first pass met a limit or damage.
            for _, (info, archive) in zip(self.names, _Walk(_Tap(self._source.open())), strict=False):
                content = self._content(info, archive)
                if content is not None:
                    yield info.name, content
        except READ_ERRORS as error:
            self._stopped_by(error)
        if self._records:
            yield "!pax-records", "\n".join(self._records).encode("utf-8", "surrogateescape")
        if self._trailing:
            yield "!trailing-data", self._trailing

    def _stopped_by(self, error: Exception) -> None:
        """Notes the damage, once; both passes meet it."""
        if not (self._damaged or self._source.failed):
            self._observer.skip("truncated-archive", f"The archive ends too early or is damaged: {error}.")
        self._damaged = True

    def _content(self, info: tarfile.TarInfo, archive: tarfile.TarFile) -> bytes | None:
        if info.isdir() or info.issym() or info.islnk() or info.isdev():
            return None
        if info.size > self._limits.member_bytes:
            self._observer.skip("member-too-large", f"The member unpacks to {info.size} bytes.", info.name)
            return None
        stored_bytes = getattr(info, "stated_size", info.size)
        if info.issparse() and stored_bytes > _stored_by_map(info):
            self._observer.skip("tar-size-mismatch", "The sparse member's map leaves out stored bytes.", info.name)
        file = archive.extractfile(info)
        content = b"" if file is None else file.read()
        if info.issparse():
            # Its holes come from nowhere, and were not accounted for when the stream was.
            self._budget.spend(len(content))
        return content


def _stored_by_map(info: tarfile.TarInfo) -> int:
    """How many bytes a sparse member may have stored: its pieces, and in version 1.0 of the format their list."""
    # typeshed takes it for bytes.
    pieces = cast("list[tuple[int, int]]", info.sparse or [])
    listed = tarfile.BLOCKSIZE + _LISTED_BYTES * len(pieces) if "GNU.sparse.major" in info.pax_headers else 0
    return sum(size for _, size in pieces) + listed
