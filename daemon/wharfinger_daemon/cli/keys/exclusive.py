"""Files that a command writes and that must not be there before, and commands that run one at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wharfinger_daemon.errors import AlreadyExistsError, Reason, StartupError

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def exclusive_file(path: Path | None) -> Iterator[Callable[[str], int]]:
    """Makes the file at once, so that nothing is done whose outcome could not be kept; removes it if the block raises.

    Args:
        path: None to write nothing.

    Raises:
        AlreadyExistsError: something of that name is there.
    """
    if path is None:
        yield len
        return
    try:
        descriptor = os.open(path, _CREATE, 0o644)
    except FileExistsError as error:
        raise AlreadyExistsError(
            f"{path} exists already, and nothing is overwritten. Name another file.",
            reason=Reason.CONFIGURATION_INVALID,
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file.write
    except BaseException:
        path.unlink()
        raise


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Waits until no other such block runs on this directory, in whatever process.

    Raises:
        StartupError: CONFIGURATION_INVALID; the directory cannot be opened or locked.
    """
    descriptor = _locked(directory)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(directory: Path) -> int:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise StartupError(
            f"The state directory {directory} cannot be locked: {error.strerror}. Correct state_directory, or look at "
            "its permissions.",
            reason=Reason.CONFIGURATION_INVALID,
        ) from error
    return descriptor
