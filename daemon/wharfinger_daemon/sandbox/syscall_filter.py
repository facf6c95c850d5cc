"""seccomp: a process keeps the system calls of computing and of talking to the daemon.

An allow-list, so that what a later kernel adds is refused. Refused calls fail with EPERM instead of killing, because a
check, or the library that it uses, may try something harmless, and its finding should not be lost for that. No memory
can be made executable any more; compiled rules are when the filter is set.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import mmap
import os
import socket
from types import ModuleType

# On no descriptor but those that are open; nothing here opens one, except recvmsg, which takes an artifact's.
_ANYWHERE = (
    # Memory
    "brk", "madvise", "mremap", "munmap", "membarrier",
    # Time, scheduling and threads that exist already
    "clock_getres", "clock_gettime", "clock_nanosleep", "futex", "get_robust_list", "gettimeofday", "nanosleep",
    "restart_syscall", "rseq", "sched_getaffinity", "sched_yield", "set_robust_list", "time",
    # Signals to itself: the deadline of a check
    "getitimer", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "setitimer", "sigaltstack",
    # Reading what is open, and closing it
    "close", "lseek", "poll", "ppoll", "pread64", "read", "readv",
    # Harmless knowledge
    "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom", "getrusage", "gettid", "getuid", "times", "uname",
    # The end
    "exit", "exit_group",
)  # fmt: skip
_ON_THE_CHANNEL = ("recvfrom", "recvmsg", "sendmsg", "sendto")
_MAPPING = ("mmap", "mprotect")
_OUTPUT_DESCRIPTORS = (1, 2)  # the null device by then


class FilterMissingError(Exception):
    """libseccomp cannot be used here."""


def preload() -> None:
    """Loads libseccomp as long as files can be opened; finding it runs ``ldconfig``. Failure shows when it is used."""
    with contextlib.suppress(ImportError, RuntimeError, OSError, AttributeError):
        importlib.import_module("pyseccomp")


def forbid_all_but_computing(channel: int) -> None:
    """Sets the filter for all threads of the process, for ever, and makes sure of it. Needs no-new-privileges before.

    Args:
        channel: descriptor of the socket to the daemon.

    Raises:
        FilterMissingError: libseccomp is not installed, or the kernel refuses.
    """
    try:
        pyseccomp = importlib.import_module("pyseccomp")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise FilterMissingError(f"libseccomp does not load: {error}") from error
    try:
        rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
        rules.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)
        for name in (name for name in _ANYWHERE if _is_known(pyseccomp, name)):
            rules.add_rule(pyseccomp.ALLOW, name)
        for name in _ON_THE_CHANNEL:
            rules.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(0, pyseccomp.EQ, channel))
        for descriptor in (*_OUTPUT_DESCRIPTORS, channel):
            rules.add_rule(pyseccomp.ALLOW, "write", pyseccomp.Arg(0, pyseccomp.EQ, descriptor))
        for name in _MAPPING:
            rules.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(2, pyseccomp.MASKED_EQ, mmap.PROT_EXEC, 0))
        rules.load()
    except (OSError, RuntimeError, ValueError) as error:
        raise FilterMissingError(f"The kernel or libseccomp refuses the filter: {error}") from error
    _make_sure()


def _is_known(pyseccomp: ModuleType, name: str) -> bool:
    """Whether this architecture has the call; 64-bit ARM lacks the oldest ones."""
    return int(pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)) >= 0


def _make_sure() -> None:
    try:
        socket.socket().close()
    except PermissionError:
        pass
    else:
        raise FilterMissingError("The filter is set, and a socket can still be made.")
    try:
        os.close(os.dup(0))
    except PermissionError:
        return
    raise FilterMissingError("The filter is set, and a descriptor can still be duplicated.")
