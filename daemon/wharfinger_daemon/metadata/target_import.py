"""Takes in millions of targets from a file, line by line, in chunks.

Rules of the whole module:
  (1) A line that is no target is told, and the rest goes on.
  (2) With each chunk of rows it is recorded how much of which bytes was read. Whoever is killed goes on from there, if
      the file still begins with the same bytes; else from its start, where rows that are the same cost little.
  (3) Of two lines with one path, the later one decides.
  (4) Nothing is signed here: the publisher takes in the bins that the rows were written for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.metadata.target_lines import LineFormat, ReadLine, csv_reader, read_json
from wharfinger_daemon.metadata.targets import Target

# A target needs less than 1,500 bytes.
LONGEST_LINE = 16_384
CHUNK_LINES = 50_000
_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ImportProgress:
    """What was read, and what came of it.

    Attributes:
        offset: how many bytes were read; ``digest`` is their SHA-256.
        lines: with the header of CSV, and empty ones.
        added: new targets; ``replaced``: targets that were others; ``unchanged``: that were so already.
        refused: lines that are no target, or whose bin is full.
    """

    offset: int = 0
    lines: int = 0
    digest: bytes = b""
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    refused: int = 0


@dataclass(frozen=True)
class ChunkOutcome:
    """What came of a chunk.

    Attributes:
        full: of the paths whose bin has no room for them, why.
    """

    added: int
    replaced: int
    unchanged: int
    full: Mapping[str, str]


@dataclass(frozen=True)
class RefusedLine:
    """A line that was not taken.

    Attributes:
        number: counted from 1.
        text: its beginning.
    """

    number: int
    text: bytes
    why: str


class TargetRows(Protocol):
    """Where the rows go."""

    def progress(self) -> ImportProgress | None:
        """How far an import came that was not finished."""
        ...

    def put(self, chunk: Mapping[str, Target], before: ImportProgress) -> ChunkOutcome:
        """Writes targets by path, and ``before`` with what came of them added, in one transaction."""
        ...


class ImportListener(Protocol):
    """Told of what happens."""

    def resumed(self, progress: ImportProgress) -> None:
        """The import goes on from where it was interrupted."""
        ...

    def refused(self, lines: Sequence[RefusedLine]) -> None:
        """Of a chunk whose rows are about to be written, or were, these lines are not taken. After an interruption they
        may be told again."""
        ...

    def advanced(self, progress: ImportProgress) -> None:
        """A chunk is written."""
        ...


def import_targets(
    stream: BinaryIO, line_format: LineFormat, rows: TargetRows, listener: ImportListener
) -> ImportProgress:
    """Reads a stream to its end, and writes what it says.

    Args:
        stream: buffered. One that cannot be sought in is read from its start, without regard to interruptions.

    Raises:
        InvalidRequestError: the header of CSV is none. Nothing was read.
        UnavailableError: the rows cannot be written. What was written before stays, and the next call goes on there.
    """
    lines = _Lines(stream)
    read = csv_reader(lines.next() or b"") if line_format is LineFormat.CSV else read_json
    progress = lines.counted(ImportProgress())
    interrupted = rows.progress() if stream.seekable() else None
    if interrupted is not None and lines.skip_to(interrupted):
        progress = interrupted
        listener.resumed(progress)
    while (chunk := _next_chunk(lines, read)) is not None:
        listener.refused(chunk.refused)
        before = replace(lines.counted(progress), refused=progress.refused + len(chunk.refused))
        outcome = rows.put(chunk.targets, before)
        listener.refused([chunk.refusal(path, why) for path, why in outcome.full.items()])
        progress = after(before, outcome)
        listener.advanced(progress)
    return progress


def after(before: ImportProgress, outcome: ChunkOutcome) -> ImportProgress:
    """Progress, with what came of another chunk."""
    return replace(
        before,
        added=before.added + outcome.added,
        replaced=before.replaced + outcome.replaced,
        unchanged=before.unchanged + outcome.unchanged,
        refused=before.refused + len(outcome.full),
    )


class _Lines:
    """The lines of a stream, with what was read of it so far."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._start = stream.tell() if stream.seekable() else 0
        self._digest = hashlib.sha256()
        self._bytes = 0
        self.number = 0

    def next(self) -> bytes | None:
        """The next line, without more of it than can be a target; None at the end."""
        line = self._stream.readline(LONGEST_LINE)
        if not line:
            return None
        self.number += 1
        self._count(line)
        rest = line
        while not rest.endswith(b"\n") and (rest := self._stream.readline(LONGEST_LINE)):
            self._count(rest)
        return line

    def skip_to(self, progress: ImportProgress) -> bool:
        """Goes to where an import was interrupted, if it read the same bytes; else stays."""
        digest, remaining = hashlib.sha256(), progress.offset
        here = self._stream.tell()
        self._stream.seek(self._start)
        while remaining and (block := self._stream.read(min(remaining, _BLOCK_BYTES))):
            digest.update(block)
            remaining -= len(block)
        if remaining or digest.digest() != progress.digest:
            self._stream.seek(here)
            return False
        self._digest, self._bytes, self.number = digest, progress.offset, progress.lines
        return True

    def counted(self, progress: ImportProgress) -> ImportProgress:
        """Progress, with what was read by now."""
        return replace(progress, offset=self._bytes, lines=self.number, digest=self._digest.digest())

    def _count(self, part: bytes) -> None:
        self._digest.update(part)
        self._bytes += len(part)


@dataclass(frozen=True)
class _Chunk:
    targets: Mapping[str, Target]
    lines: Mapping[str, tuple[int, bytes]]
    refused: Sequence[RefusedLine]

    def refusal(self, path: str, why: str) -> RefusedLine:
        number, text = self.lines[path]
        return RefusedLine(number, text, why)


def _next_chunk(lines: _Lines, read: ReadLine) -> _Chunk | None:
    """At most ``CHUNK_LINES`` lines; None at the end."""
    targets: dict[str, Target] = {}
    places: dict[str, tuple[int, bytes]] = {}
    refused: list[RefusedLine] = []
    first = lines.number
    while lines.number - first < CHUNK_LINES and (line := lines.next()) is not None:
        if line.isspace():
            continue
        try:
            target = _target(line, read)
        except InvalidRequestError as error:
            refused.append(RefusedLine(lines.number, line, error.message))
        else:
            targets[target.path] = target
            places[target.path] = lines.number, line
    return None if lines.number == first else _Chunk(targets, places, refused)


def _target(line: bytes, read: ReadLine) -> Target:
    if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
        raise InvalidRequestError(f"The line is longer than {LONGEST_LINE} bytes.", reason=Reason.TARGET_INVALID)
    return read(line)
