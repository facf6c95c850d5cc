"""What a process gives up by itself: rights, namespaces, and more than its share of the machine."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

from wharfinger_daemon.sandbox import kernel

# 0, 1 and 2, the channel, an artifact, and a few that libraries hold; descriptors that are open count.
_DESCRIPTORS = 32


def forbid_new_privileges() -> None:
    """Set-user-id programs stay powerless; the memory is closed to debuggers and ``/proc`` of others.

    Raises:
        OSError: the kernel refuses.
    """
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def die_with(parent: int) -> None:
    """The kernel kills this process when the thread that started it ends.

    Args:
        parent: the process id of the daemon.

    Raises:
        OSError: the kernel refuses.
        RuntimeError: the daemon is gone already.
    """
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise RuntimeError("the daemon ended while the worker was starting")


def leave_namespaces() -> None:
    """Enters empty user, network and IPC namespaces: even a root process has no capability outside then.

    Raises:
        OSError: the kernel or its administrator does not allow it, or there are several threads.
    """
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC)


def limit_resources(memory_bytes: int, cpu_seconds: int) -> None:
    """Sets the limits, which cannot be raised again once system calls are filtered.

    Address space is limited beyond what is mapped now: rule engines reserve gigabytes of it without touching them.

    Raises:
        OSError, ValueError: the kernel refuses.
    """
    mapped, _, _, _, _, data, _ = (int(pages) * resource.getpagesize() for pages in _statm())
    limits = {
        resource.RLIMIT_AS: mapped + memory_bytes,
        resource.RLIMIT_DATA: data + memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_NOFILE: _DESCRIPTORS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (bounded, bounded))


def _statm() -> list[str]:
    return Path("/proc/self/statm").read_text(encoding="ascii").split()
