"""Opens a path beneath a directory so that nothing outside can be reached, whoever renames what meanwhile.

Linux has a call for it since 5.6, ``openat2``, which Python does not offer. Where a kernel or a container's filter does
not have it, the path is walked one component at a time, each opened relative to the one before and never through a
link.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

# From linux/openat2.h. The number of the system call is the same everywhere but on Alpha.
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08

# O_NONBLOCK: opening a FIFO must not wait for a writer. It changes nothing for regular files.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

# EXDEV: the path leaves the directory; ELOOP: it has a link.
_ESCAPES = frozenset({errno.EXDEV, errno.ELOOP})
# Not there (ENOSYS), or a filter forbids it (EPERM), as older container runtimes do with calls that they do not know.
_ABSENT = frozenset({errno.ENOSYS, errno.EPERM})


class EscapeError(OSError):
    """The path has a symbolic link, or leads outside."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: Path, path: str) -> int:
    """A read-only descriptor of what ``path`` names beneath ``root``. The root itself may be or contain links.

    The result may be anything that can be opened, such as a directory: callers look.

    Raises:
        EscapeError: a component is a symbolic link, or ``..`` leads out.
        OSError: as ``os.open`` does.
    """
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            return _openat2(directory, path)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
        return walk(directory, path)
    except OSError as error:
        if error.errno in _ESCAPES:
            raise EscapeError(error.errno, error.strerror) from error
        raise
    finally:
        os.close(directory)


def _openat2(directory: int, path: str) -> int:
    how = _OpenHow(_FLAGS, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(directory),
        os.fsencode(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def walk(directory: int, path: str) -> int:
    """The same without ``openat2``: component by component, beneath an open directory.

    Raises:
        OSError: ELOOP for a link, EXDEV for ``..`` or an absolute path; otherwise as ``os.open`` does.
    """
    if path.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    *parents, name = [part for part in path.split("/") if part not in ("", ".")] or ["."]
    current = os.dup(directory)
    try:
        for part in parents:
            current = _descend(current, part)
        _require_name(name)
        return os.open(name, _FLAGS, dir_fd=current)
    finally:
        os.close(current)


def _descend(current: int, part: str) -> int:
    _require_name(part)
    try:
        below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
    except NotADirectoryError as error:
        # With O_DIRECTORY, a link is reported as no directory; say which of the two it was.
        if os.path.islink(f"/proc/self/fd/{current}/{part}"):  # noqa: PTH114 - relative to a descriptor
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
        raise
    os.close(current)
    return below


def _require_name(part: str) -> None:
    if part == "..":
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
