"""A part of a seekable file, with a position of its own: several readers share one file."""

from __future__ import annotations

import io
from typing import BinaryIO


class ArtifactUnreadableError(Exception):
    """The disk, not the content, keeps the artifact from being read."""


class View:
    """Reads a whole file, or a part of it, as much like a binary file as zipfile and tarfile need.

    Args:
        start: where the part begins; give its length too. ``part`` keeps parts inside their whole.
    """

    def __init__(self, file: BinaryIO, start: int = 0, length: int | None = None) -> None:
        self._file = file
        self._start = start
        self._position = 0
        self.length = file.seek(0, io.SEEK_END) if length is None else length

    def part(self, start: int, end: int) -> View:
        """Another view of this view's bytes from ``start`` to ``end``."""
        start = min(max(start, 0), self.length)
        return View(self._file, self._start + start, max(min(end, self.length) - start, 0))

    def at(self, start: int, count: int) -> bytes:
        """The bytes at a place, fewer where the view ends; the position stays."""
        return self.part(start, start + count).read()

    def read(self, count: int = -1) -> bytes:
        """Exactly ``count`` bytes, fewer only at the end; all that are left for a negative count.

        Raises:
            ArtifactUnreadableError: the file could not be read.
        """
        left = max(self.length - self._position, 0)
        wanted = left if count < 0 else min(count, left)
        pieces = []
        try:
            self._file.seek(self._start + self._position)
            while wanted > 0 and (piece := self._file.read(wanted)):
                pieces.append(piece)
                wanted -= len(piece)
                self._position += len(piece)
        except OSError as error:
            # Not an OSError, which zipfile and tarfile would take for damage.
            raise ArtifactUnreadableError(f"The artifact cannot be read: {error}.") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position, as a file does.

        Raises:
            ValueError: the position would be negative, as with a file.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def seekable(self) -> bool:
        """Always."""
        return True
