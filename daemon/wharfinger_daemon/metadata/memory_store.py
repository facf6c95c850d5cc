"""A metadata store that forgets when the process ends: for tests."""

from __future__ import annotations

from collections.abc import Sequence

from wharfinger_daemon.errors import Reason, StartupError, UnavailableError
from wharfinger_daemon.metadata.ports import (
    VersionedFile,
    another_content,
    another_timestamp,
    file_name,
    removable_file_name,
    versioned_file,
)


class MemoryStore:
    """Implements ``MetadataStore``.

    Attributes:
        files: content by file name; tests may damage it.
        available: set to False, every method that touches files raises UnavailableError.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.available = True
        self._note: bytes | None = None
        self._locked = False

    async def read(self, role: str, version: int) -> bytes | None:
        self._require_available()
        return self.files.get(file_name(role, version))

    async def read_all(self, files: Sequence[tuple[str, int]]) -> list[bytes | None]:
        return [await self.read(role, version) for role, version in files]

    async def add(self, files: Sequence[VersionedFile]) -> None:
        self._require_available()
        for file in files:
            name = file_name(file.role, file.version)
            if self.files.setdefault(name, file.content) != file.content:
                raise another_content(name)

    async def replace_timestamp(self, content: bytes, *, replacing: bytes | None) -> None:
        self._require_available()
        if self.files.get(file_name("timestamp", 0)) not in (replacing, content):
            raise another_timestamp()
        self.files[file_name("timestamp", 0)] = content

    async def absent(self, files: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        self._require_available()
        return [file for file in files if not self.files.get(file_name(*file))]

    async def listed(self) -> Sequence[tuple[str, int]]:
        self._require_available()
        return [file for file in map(versioned_file, self.files) if file is not None]

    async def remove(self, files: Sequence[tuple[str, int]]) -> None:
        self._require_available()
        for name in [removable_file_name(*file) for file in files]:
            self.files.pop(name, None)

    async def stage(self, content: bytes | None) -> None:
        self._require_available()
        self._note = content

    async def staged(self) -> bytes | None:
        self._require_available()
        return self._note

    async def lock(self) -> None:
        if self._locked:
            raise StartupError("Another publisher works on this store.", reason=Reason.PUBLISHER_RUNNING)
        self._locked = True

    async def unlock(self) -> None:
        self._locked = False

    def _require_available(self) -> None:
        if not self.available:
            raise UnavailableError("The store is switched off.", reason=Reason.STORE_UNAVAILABLE)
