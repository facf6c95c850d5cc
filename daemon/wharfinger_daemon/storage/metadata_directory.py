"""Metadata files in a directory, as a web server could serve it.

A file is written under a temporary name and made durable before it gets its own, so that it is whole or absent. A
versioned file gets its name with ``link``, which never overwrites; the timestamp with ``rename``, which replaces in one
step. The directory itself is made durable before a call returns. The staged note is a hidden file. A publisher makes
temporary files in the folder that comes with its lock, so that one that lost it can replace nothing any more.

All names are opened relative to the directory, never through a symbolic link.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.metadata.ports import (
    VersionedFile,
    another_content,
    another_timestamp,
    file_name,
    removable_file_name,
    versioned_file,
)
from wharfinger_daemon.storage.directory_lock import DirectoryLock, another_works_on

T = TypeVar("T")

_UNFINISHED = ".unfinished"
_STAGED = ".staged"
_WRITERS = 4
# O_NONBLOCK: opening a FIFO must not wait for a writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class MetadataDirectory:
    """``metadata.ports.MetadataStore`` on a directory of a local file system, which must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: DirectoryLock | None = None
        self._locked: int | None = None

    async def read(self, role: str, version: int) -> bytes | None:
        name = file_name(role, version)
        return await self._in_directory(lambda directory: _read(directory, name))

    async def read_all(self, files: Sequence[tuple[str, int]]) -> list[bytes | None]:
        names = [file_name(role, version) for role, version in files]
        return await self._in_directory(lambda directory: [_read(directory, name) for name in names])

    async def add(self, files: Sequence[VersionedFile]) -> None:
        await self._in_directory(lambda directory: _add(directory, files, self._folder))

    async def replace_timestamp(self, content: bytes, *, replacing: bytes | None) -> None:
        await self._in_directory(lambda directory: _replace_timestamp(directory, content, replacing, self._folder))

    async def absent(self, files: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        return await self._in_directory(lambda directory: [file for file in files if not _holds(directory, file)])

    async def listed(self) -> Sequence[tuple[str, int]]:
        return await self._in_directory(_listed)

    async def remove(self, files: Sequence[tuple[str, int]]) -> None:
        names = [removable_file_name(*file) for file in files]
        await self._in_directory(lambda directory: _remove(directory, *names))

    async def stage(self, content: bytes | None) -> None:
        await self._in_directory(
            lambda directory: (
                _remove_staged(directory, self._folder)
                if content is None
                else _replace(directory, _STAGED, content, self._folder)
            )
        )

    async def staged(self) -> bytes | None:
        return await self._in_directory(lambda directory: _read(directory, _STAGED))

    async def lock(self) -> None:
        """Also removes what a killed publisher left half written."""
        if self._locked is not None:
            raise another_works_on(self._path)
        await asyncio.to_thread(self._take_lock)
        try:
            await self._in_directory(_sweep)
        except BaseException:
            await self.unlock()
            raise

    async def unlock(self) -> None:
        if self._locked is not None and self._lock is not None:
            os.close(self._locked)
            lock, self._locked, self._lock = self._lock, None, None
            await asyncio.to_thread(lock.release)

    @property
    def _folder(self) -> str | None:
        return None if self._lock is None else self._lock.folder

    def _take_lock(self) -> None:
        with self._errors_told():
            directory = os.open(self._path, _DIRECTORY)
            try:
                self._lock = DirectoryLock(self._path)
            except BaseException:
                os.close(directory)
                raise
            self._locked = directory

    async def _in_directory(self, work: Callable[[int], T]) -> T:
        return await asyncio.to_thread(self._work, work)

    def _work(self, work: Callable[[int], T]) -> T:
        with self._errors_told():
            directory = os.open(self._path, _DIRECTORY)
            try:
                self._require_locked(directory)
                return work(directory)
            finally:
                os.close(directory)

    def _require_locked(self, directory: int) -> None:
        # An unmounted volume leaves an empty folder of the same name, which nobody has locked and clients do not see.
        if self._locked is not None and not os.path.samestat(os.fstat(self._locked), os.fstat(directory)):
            raise OSError(errno.ESTALE, "it is not the one that was there when the daemon started; bring that one back")

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._locked is not None and self._lock is not None and not self._lock.holds(self._locked):
                raise UnavailableError(
                    f"Another publisher works on the metadata directory {self._path} by now, so this one writes "
                    "nothing any more. Stop it.",
                    reason=Reason.FENCED,
                ) from error
            raise UnavailableError(
                f"The metadata directory {self._path} cannot be used: {error.strerror or error}. Look at the disk and "
                "at the permissions, then retry.",
                reason=Reason.STORE_UNAVAILABLE,
            ) from error


def _read(directory: int, name: str) -> bytes | None:
    try:
        descriptor = os.open(name, _READ, dir_fd=directory)
    except OSError as error:
        # A link is no metadata file.
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _add(directory: int, files: Sequence[VersionedFile], folder: str | None) -> None:
    if len(files) == 1:
        _add_one(directory, files[0], folder)
    else:
        # A disk makes several files durable in little more time than one.
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="metadata") as writers:
            for _ in writers.map(lambda file: _add_one(directory, file, folder), files):
                pass  # An error is raised here, when all the others have come to their end.
    os.fsync(directory)


def _add_one(directory: int, file: VersionedFile, folder: str | None) -> None:
    name = file_name(file.role, file.version)
    with _durable(directory, name, file.content, folder) as unfinished:
        try:
            os.link(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError as error:
            if _read(directory, name) != file.content:
                raise another_content(name) from error


def _replace_timestamp(directory: int, content: bytes, replacing: bytes | None, folder: str | None) -> None:
    # If another publisher writes between the look and the step, there is no folder any more to make the step from.
    name = file_name("timestamp", 0)
    if _read(directory, name) not in (replacing, content):
        raise another_timestamp()
    _replace(directory, name, content, folder)


def _replace(directory: int, name: str, content: bytes, folder: str | None) -> None:
    with _durable(directory, name, content, folder) as unfinished:
        os.rename(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def _remove(directory: int, *names: str) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
    os.fsync(directory)


def _remove_staged(directory: int, folder: str | None) -> None:
    if folder is None:
        _remove(directory, _STAGED)
        return
    with contextlib.suppress(FileNotFoundError):
        os.rename(_STAGED, f"{folder}/{_STAGED}", src_dir_fd=directory, dst_dir_fd=directory)
        os.unlink(f"{folder}/{_STAGED}", dir_fd=directory)
    os.stat(folder, dir_fd=directory)  # Where the folder is gone, the note is another's, and stays.
    os.fsync(directory)


def _listed(directory: int) -> list[tuple[str, int]]:
    return [file for file in map(versioned_file, os.listdir(directory)) if file is not None]


def _holds(directory: int, file: tuple[str, int]) -> bool:
    try:
        found = os.stat(file_name(*file), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


@contextlib.contextmanager
def _durable(directory: int, name: str, content: bytes, folder: str | None) -> Iterator[str]:
    """A file with this content under a temporary name, which is gone afterwards."""
    unfinished = f".{name}.{secrets.token_hex(8)}{_UNFINISHED}"
    unfinished = unfinished if folder is None else f"{folder}/{unfinished}"
    descriptor = os.open(unfinished, _CREATE, 0o644, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield unfinished
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=directory)


def _sweep(directory: int) -> None:
    for name in os.listdir(directory):
        if name.startswith(".") and name.endswith(_UNFINISHED):
            os.unlink(name, dir_fd=directory)
