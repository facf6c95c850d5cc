"""Puts a worker under all layers, and reports which of them hold.

Order matters: namespaces while there is one thread, before the checks are tried out; the rest afterwards, the filter
of system calls last, since it forbids the others' calls.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wharfinger_daemon.sandbox import landlock, process_isolation, syscall_filter
from wharfinger_daemon.sandbox.layers import Layer


@dataclass
class Confinement:
    """Which layers hold, and why the others do not."""

    active: list[Layer] = field(default_factory=list)
    missing: dict[Layer, str] = field(default_factory=dict)

    def apply(self, layer: Layer, establish: Callable[[], None]) -> None:
        """Establishes a layer, or notes why it cannot be."""
        try:
            establish()
        except Exception as error:  # noqa: BLE001 - a layer that fails for whatever reason is missing
            self.missing[layer] = f"{type(error).__name__}: {error}"
        else:
            self.active.append(layer)


@dataclass(frozen=True)
class Terms:
    """What a worker is confined to."""

    parent: int
    memory_bytes: int
    cpu_seconds: int


Layers = Sequence[tuple[Layer, Callable[[], None]]]


def early_layers() -> Layers:
    """What must come while the process has one thread."""
    return [(Layer.NAMESPACES, process_isolation.leave_namespaces)]


def late_layers(channel: socket.socket, terms: Terms) -> Layers:
    """What comes when everything is loaded."""
    return [
        # Entering a user namespace clears the signal at the parent's death, so that this is set here.
        (Layer.PARENT_DEATH, lambda: process_isolation.die_with(terms.parent)),
        (Layer.NO_NEW_PRIVILEGES, process_isolation.forbid_new_privileges),
        (Layer.LIMITS, lambda: process_isolation.limit_resources(terms.memory_bytes, terms.cpu_seconds)),
        (Layer.LANDLOCK, landlock.forbid_everything),
        (Layer.SECCOMP, lambda: syscall_filter.forbid_all_but_computing(channel.fileno())),
    ]
