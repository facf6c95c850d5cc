"""Opens an artifact that nobody trusts, and gives its members one by one."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from wharfinger_daemon.scanning.archives import zip_reader
from wharfinger_daemon.scanning.archives.compressed import CompressedReader, CompressedSource
from wharfinger_daemon.scanning.archives.kinds import Kind, find_zip_end, kinds_of
from wharfinger_daemon.scanning.archives.limits import ArchiveLimits, Budget, LimitReached
from wharfinger_daemon.scanning.archives.names import printable
from wharfinger_daemon.scanning.archives.observations import Notebook, Observer
from wharfinger_daemon.scanning.archives.streams import Codec
from wharfinger_daemon.scanning.archives.tar_reader import Stream, TarReader
from wharfinger_daemon.scanning.archives.view import ArtifactUnreadableError, View
from wharfinger_daemon.scanning.model import Unread
from wharfinger_daemon.scanning.plugin import Anomaly, ArtifactFormat, Member

_WHEEL = re.compile(r"[^/]+\.dist-info/WHEEL")
_SDIST = re.compile(r"(\./)?[^/]+/(PKG-INFO|setup\.py|pyproject\.toml)")


class Reader(Protocol):
    """One archive that was opened."""

    @property
    def names(self) -> Sequence[str]:
        """Names of all members, in archive order."""
        ...

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the members that have any."""
        ...


@dataclass(frozen=True)
class _PlainSource:
    """A tar archive that is not compressed."""

    view: View
    failed: bool = False

    def open(self) -> Stream:
        return self.view.part(0, self.view.length)


class Artifact:
    """An artifact and all that is inside it.

    Attributes:
        format: what it was opened as.
        size: its length, in bytes.
        member_names: of the outermost archive, in archive order, printable.
    """

    def __init__(self, file: BinaryIO, limits: ArchiveLimits, filename: str) -> None:
        self._notebook = Notebook()
        self._limits = limits
        self._view = View(file)
        self._filename = filename
        self.size = self._view.length
        self._budget = Budget(limits, self.size)
        self._readers = self._opened(self._view, filename, Observer(self._notebook))
        names = [name for reader in self._readers for name in reader.names]
        self.member_names: Sequence[str] = tuple(printable(name) for name in names)
        self.format = self._format(names)

    @property
    def anomalies(self) -> Sequence[Anomaly]:
        """What is odd in the structure; complete after the last member."""
        return self._notebook.anomalies

    @property
    def unread(self) -> Sequence[Unread]:
        """What was not read, and why; complete after the last member."""
        return self._notebook.unread

    def members(self) -> Iterator[Member]:
        """Every member that has content, each followed by what is inside it if it is an archive itself.

        Content never makes it raise, except MemoryError; an unreadable disk makes it raise
        ArtifactUnreadableError. A file that is no archive is its own only member. What stands
        before, behind or between an archive's members comes under names that begin with ``!``.
        """
        observer = Observer(self._notebook)
        try:
            if not self._readers:
                yield from self._whole(observer)
            for reader in self._readers:
                yield from self._walk(reader, observer, depth=0)
        except LimitReached as reached:
            observer.stop(reached)

    def _whole(self, observer: Observer) -> Iterator[Member]:
        if self.size <= self._limits.member_bytes:
            yield Member(name=printable(self._filename or "artifact"), content=self._view.at(0, self.size))
        else:
            observer.skip("member-too-large", f"The artifact is {self.size} bytes long and cannot be opened.")

    def _walk(self, reader: Reader, observer: Observer, depth: int) -> Iterator[Member]:
        members = reader.members()
        while True:
            try:
                name, content = next(members)
            except StopIteration:
                return
            except (LimitReached, MemoryError, ArtifactUnreadableError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever the libraries raise, the content made them do it
                observer.skip("unreadable-archive", f"The rest cannot be read: {_named(error)}.")
                return
            full = observer.prefix + printable(name)
            yield Member(name=full, content=content)
            yield from self._nested(full, content, depth + 1)

    def _nested(self, name: str, content: bytes, depth: int) -> Iterator[Member]:
        view = View(io.BytesIO(content))
        if not kinds_of(view, name):
            return
        observer = Observer(self._notebook, prefix=f"{name}!/")
        if depth > self._limits.nesting_depth:
            observer.skip("nested-too-deep", f"Archives are opened {self._limits.nesting_depth} levels deep.")
            return
        for reader in self._opened(view, name, observer):
            yield from self._walk(reader, observer, depth)

    def _opened(self, view: View, name: str, observer: Observer) -> list[Reader]:
        kinds = kinds_of(view, name)
        if len(kinds) > 1:
            observer.note("polyglot", "The file is several archives at once; tools differ in which one they see.")
        if not kinds:
            observer.note("not-an-archive", "The file is no zip or tar archive.")
        readers = []
        for kind in kinds:
            try:
                reader = self._open(kind, view, name, observer)
            except LimitReached as reached:
                observer.stop(reached)
            except (MemoryError, ArtifactUnreadableError):
                raise
            except Exception as error:  # noqa: BLE001 - as above
                observer.skip("unreadable-archive", f"The archive cannot be opened: {_named(error)}.")
            else:
                readers += [reader] if reader else []
        return readers

    def _open(self, kind: Kind | Codec, view: View, name: str, observer: Observer) -> Reader | None:
        end = find_zip_end(view)
        if kind is Kind.ZIP and end is not None:
            return zip_reader.ZipReader(view, end, self._limits, self._budget, observer)
        if kind is Kind.TAR:
            return TarReader(_PlainSource(view), self._limits, self._budget, observer)
        if isinstance(kind, Codec):
            source = CompressedSource(view, kind, self._budget, observer)
            if not source.empty:
                return CompressedReader(source, name, self._limits, self._budget, observer)
            if not observer.prefix:
                source.inspect_end()
        else:
            observer.skip("truncated-archive", "The zip archive has no directory.")
        return None

    def _format(self, names: Sequence[str]) -> ArtifactFormat:
        kinds = kinds_of(self._view, self._filename)
        if not self._readers or any(anomaly.rule == "not-an-archive" for anomaly in self._notebook.anomalies):
            return ArtifactFormat.UNKNOWN
        if Kind.ZIP in kinds and any(_WHEEL.fullmatch(name) for name in names):
            return ArtifactFormat.WHEEL
        if any(_SDIST.fullmatch(name) for name in names):
            return ArtifactFormat.SDIST
        return ArtifactFormat.ZIP if Kind.ZIP in kinds else ArtifactFormat.TAR


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def open_artifact(file: BinaryIO, limits: ArchiveLimits, filename: str = "") -> Artifact:
    """Opens an artifact by its content; the name only helps where pip goes by the name too.

    Args:
        file: seekable; it must stay open while members are read, and nobody else may move its position meanwhile.

    Raises:
        ArtifactUnreadableError: the file itself cannot be read.
        MemoryError: too little memory for these limits. Nothing else in the content makes it raise.
    """
    return Artifact(file, limits, posixpath.basename(filename))
