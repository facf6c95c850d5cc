"""The lock of a signer whose database is a file."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from wharfinger_daemon.errors import Reason, StartupError, UnavailableError

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def lock_file(database: str | None) -> Iterator[None]:
    """Holds a lock on a file beside the database, which stays; the kernel lets go of it when the process ends, however
    it ends. A database in memory needs none.

    Raises:
        StartupError: PUBLISHER_RUNNING; somebody else has it.
        UnavailableError: DATABASE_UNAVAILABLE; the file cannot be made.
    """
    if database is None:
        yield
        return
    # Not the database file itself: by closing any descriptor of it, the process would lose SQLite's own locks.
    file = f"{os.path.realpath(database)}.signer"
    descriptor = _opened(file)
    try:
        _lock(descriptor, file)
        yield
    finally:
        os.close(descriptor)


def another_signs() -> StartupError:
    """Somebody else is the sole signer."""
    return StartupError(
        "A daemon runs that signs with this database, or a command changes what it signs by. Stop it, or wait "
        "until it is done; or configure another database.",
        reason=Reason.PUBLISHER_RUNNING,
    )


def _opened(file: str) -> int:
    try:
        return os.open(file, _OPEN, 0o600)
    except OSError as error:
        raise UnavailableError(
            f"{file} cannot be opened ({error.strerror}). It is a lock beside the database: look at the permissions.",
            reason=Reason.DATABASE_UNAVAILABLE,
        ) from error


def _lock(descriptor: int, file: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise UnavailableError(
                f"{file} cannot be locked ({error.strerror}). Keep the database on a local file system.",
                reason=Reason.DATABASE_UNAVAILABLE,
            ) from error
        raise another_signs() from error
