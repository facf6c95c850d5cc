"""The lock on a metadata directory, and what keeps a publisher harmless that was paused and has lost it.

The lock is a file lock, which the kernel lets go of when its process ends. Its holder also writes the file anew every
second. Whoever finds the lock held, and the file unchanged for several times as long, takes its place: the holder is
paused, or hangs. No clock is compared.

What fences the former holder, at whatever instruction it wakes, is its folder: every publisher makes its files in one
of its own, and moves them out by ``link`` and ``rename``. Whoever takes the place removes all such folders, so that
nothing can be moved out of them any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from wharfinger_daemon.errors import Reason, StartupError

_LOCK = ".publisher"
_TAKING = ".publisher-taking"
_FOLDERS = ".unfinished-"
_BEAT_SECONDS = 1.0
_SILENT_BEATS = 5
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryLock:
    """Holds the lock from its making until ``release``.

    Attributes:
        folder: the name of the folder in which its holder makes files.

    Raises:
        StartupError: PUBLISHER_RUNNING; another holds it, and lives.
        OSError: the directory cannot be used.
    """

    def __init__(self, path: Path, beat_seconds: float = _BEAT_SECONDS) -> None:
        self._path = path
        self._beat_seconds = beat_seconds
        self._released = threading.Event()
        self.folder = f"{_FOLDERS}{secrets.token_hex(8)}"
        with self._taking():
            self._descriptor = self._take()
            try:
                self._remove_folders()
                (path / self.folder).mkdir(0o755)
            except BaseException:
                os.close(self._descriptor)
                raise
        self._thread = threading.Thread(target=self._show_life, name="metadata directory", daemon=True)
        self._thread.start()

    def holds(self, directory: int) -> bool:
        """Whether nobody has taken its place: its folder is there.

        Args:
            directory: a descriptor of the locked directory itself, which another may have taken the place of.
        """
        try:
            os.stat(self.folder, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError:
            pass  # Not known.
        return True

    def release(self) -> None:
        """Lets go of it."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            (self._path / self.folder).rmdir()
        os.close(self._descriptor)

    @contextlib.contextmanager
    def _taking(self) -> Iterator[None]:
        """One process at a time looks whether the place is free, and takes it."""
        descriptor = os.open(self._path / _TAKING, _OPEN, 0o644)
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _take(self) -> int:
        descriptor = os.open(self._path / _LOCK, _OPEN, 0o644)
        try:
            with contextlib.suppress(StartupError):
                self._lock(descriptor)
                return descriptor
            self._require_silence(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        # The former holder keeps the lock on the former file.
        replacing = self._path / f"{_LOCK}.{secrets.token_hex(8)}"
        descriptor = os.open(replacing, _OPEN | os.O_EXCL, 0o644)
        try:
            self._lock(descriptor)
            replacing.rename(self._path / _LOCK)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise another_works_on(self._path) from error

    def _require_silence(self, descriptor: int) -> None:
        seen = os.pread(descriptor, 64, 0)
        for _ in range(_SILENT_BEATS):
            self._released.wait(self._beat_seconds)  # Nobody releases it yet: it is a sleep.
            if os.pread(descriptor, 64, 0) != seen:
                raise another_works_on(self._path)

    def _remove_folders(self) -> None:
        for folder in self._path.glob(f"{_FOLDERS}*"):
            # Moved away first, in one step: from here on nothing is found under its name.
            gone = self._path / f".gone-{secrets.token_hex(8)}"
            folder.rename(gone)
            shutil.rmtree(gone)

    def _show_life(self) -> None:
        while not self._released.wait(self._beat_seconds):
            with contextlib.suppress(OSError):  # A full disk, or one that hangs, is noticed by whoever publishes.
                os.pwrite(self._descriptor, secrets.token_hex(16).encode(), 0)


def another_works_on(path: Path) -> StartupError:
    """The error for a directory that another publisher holds."""
    return StartupError(
        f"Another publisher works on the metadata directory {path}. Stop the other daemon, or configure another "
        "directory.",
        reason=Reason.PUBLISHER_RUNNING,
    )
