"""The names of the layers that confine a worker."""

from __future__ import annotations

from enum import StrEnum


class Layer(StrEnum):
    """One mechanism each; every layer holds by itself."""

    NO_NEW_PRIVILEGES = "no-new-privileges"
    """No program that is executed gains rights, and nobody may look into the worker's memory."""
    PARENT_DEATH = "parent-death"
    """The worker dies with the daemon."""
    NAMESPACES = "namespaces"
    """User, network and IPC namespaces of its own: no network interface, no capability outside."""
    LIMITS = "limits"
    """Limits on memory, CPU time, descriptors, file size, core files and processes."""
    LANDLOCK = "landlock"
    """No file, directory or TCP port can be opened."""
    SECCOMP = "seccomp"
    """Only the system calls of computing and of talking to the daemon."""
