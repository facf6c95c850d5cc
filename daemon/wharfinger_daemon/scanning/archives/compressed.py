"""Archives and single files inside gzip, bzip2, xz or Zstandard."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from wharfinger_daemon.scanning.archives.kinds import is_tar_header
from wharfinger_daemon.scanning.archives.limits import ArchiveLimits, Budget, LimitReached
from wharfinger_daemon.scanning.archives.observations import Observer
from wharfinger_daemon.scanning.archives.streams import Codec, CompressedStream
from wharfinger_daemon.scanning.archives.tar_reader import Stream, TarReader
from wharfinger_daemon.scanning.archives.view import View

# What unpacks to no more than this is unpacked once and held; anything larger is unpacked for each pass.
HELD_BYTES = 32 * 1024 * 1024


def _free_of_charge(count: int) -> None:
    """The first pass has paid."""


class _Joined:
    """The bytes that were read ahead, then the rest."""

    def __init__(self, head: bytes, rest: CompressedStream) -> None:
        self._head: io.BytesIO | None = io.BytesIO(head)
        self._rest = rest

    def read(self, count: int) -> bytes:
        piece = b""
        if self._head is not None:
            piece = self._head.read(count)
            if len(piece) == count:
                return piece
            self._head = None
        return piece + self._rest.read(count - len(piece))


class CompressedSource:
    """What a compressed file unpacks to, from the beginning, as often as it is asked for."""

    def __init__(self, view: View, codec: Codec, budget: Budget, observer: Observer) -> None:
        self._view = view
        self._codec = codec
        self._budget = budget
        self._observer = observer
        self._opened = False
        self._reached = False
        self._first = CompressedStream(view.part(0, view.length), codec, budget.spend)
        self._head = self._read(HELD_BYTES + 1)

    @property
    def is_tar(self) -> bool:
        """Whether a tar archive is inside."""
        return is_tar_header(self._head[: tarfile.BLOCKSIZE])

    @property
    def empty(self) -> bool:
        """Whether not one byte could be unpacked."""
        return not self._head

    @property
    def failed(self) -> bool:
        """Whether it ended early; the reason is noted here or by ``inspect_end``."""
        return self._reached or self._first.damage is not None

    def open(self) -> Stream:
        """The bytes, from the beginning. Only the first reading is accounted for."""
        if len(self._head) <= HELD_BYTES:
            return io.BytesIO(self._head)
        if self._opened:
            return CompressedStream(self._view.part(0, self._view.length), self._codec, _free_of_charge)
        self._opened = True
        return _Joined(self._head, self._first)

    def _read(self, count: int) -> bytes:
        try:
            return self._first.read(count)
        except LimitReached as reached:
            self._reached = True
            self._observer.stop(reached)
            return self._first.read(count)

    def inspect_end(self) -> None:
        """Notes flaws and damage, once everything was read."""
        damage, flaw = self._first.damage, self._first.flaw
        if flaw is not None:
            self._observer.note(flaw.rule, flaw.message)
        if damage is not None:
            self._observer.skip(damage.rule, damage.message)

    def trailing(self) -> View | None:
        """What stands behind the compressed data, and is not zeros."""
        at = self._first.trailing_at
        return None if at is None else self._view.part(at, self._view.length)


class CompressedReader:
    """A tar archive in a compressed file, or the one file that is in it.

    Args:
        name: of the compressed file; what is inside, if it is no archive, is called by it without its suffix.
    """

    def __init__(
        self, source: CompressedSource, name: str, limits: ArchiveLimits, budget: Budget, observer: Observer
    ) -> None:
        self._source = source
        self._limits = limits
        self._observer = observer
        self._archive: TarReader | None = None
        if source.is_tar:
            self._archive = TarReader(source, limits, budget, observer)
            self.names = self._archive.names
        else:
            if not observer.prefix:
                observer.note("not-an-archive", "The file is compressed, and what is in it is no tar archive.")
            self.names = [name.rpartition("/")[2].rpartition(".")[0] or "content"]

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents, then what stands behind the compressed data.

        Raises:
            LimitReached: nothing more may be read.
        """
        yield from self._single() if self._archive is None else self._archive.members()
        self._source.inspect_end()
        trailing = self._source.trailing()
        if trailing is None:
            return
        message = f"{trailing.length} bytes stand behind the compressed data."
        if trailing.length > self._limits.member_bytes:
            self._observer.skip("trailing-data", message)
        else:
            self._observer.note("trailing-data", message)
            yield "!trailing-data", trailing.read()

    def _single(self) -> Iterator[tuple[str, bytes]]:
        content = self._source.open().read(self._limits.member_bytes + 1)
        if len(content) > self._limits.member_bytes:
            size = self._limits.member_bytes
            self._observer.skip("member-too-large", f"The file unpacks to more than {size} bytes.", self.names[0])
        else:
            yield self.names[0], content
