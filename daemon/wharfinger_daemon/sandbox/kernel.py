"""The system calls of confinement that Python does not offer, through the C library."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38

CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

# The numbers of these are the same on every architecture.
SYS_LANDLOCK_CREATE_RULESET = 444
SYS_LANDLOCK_RESTRICT_SELF = 446

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, argument: int) -> None:
    """prctl(2) with one argument.

    Raises:
        OSError: it failed.
    """
    _checked(_libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(value) for value in (argument, 0, 0, 0))))


def unshare(flags: int) -> None:
    """unshare(2).

    Raises:
        OSError: it failed.
    """
    _checked(_libc.unshare(ctypes.c_int(flags)))


def landlock_abi() -> int:
    """The version of Landlock that the kernel has.

    Raises:
        OSError: it has none, or it is turned off.
    """
    return _checked(_libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def landlock_create_ruleset(attributes: bytes) -> int:
    """landlock_create_ruleset(2): a descriptor.

    Raises:
        OSError: it failed.
    """
    return _checked(
        _libc.syscall(SYS_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    )


def landlock_restrict_self(ruleset: int) -> None:
    """landlock_restrict_self(2).

    Raises:
        OSError: it failed.
    """
    _checked(_libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
