"""Landlock: a thread gives up the right to open anything (Documentation/userspace-api/landlock.rst).

The ruleset names every access that the kernel knows and grants none. Descriptors that are open stay usable. It holds
for the calling thread and what it starts; system call filtering covers threads that checks have started before.
"""

from __future__ import annotations

import os
import struct

from wharfinger_daemon.sandbox import kernel

# (ABI from which it counts, bits): reading, writing, executing, making and removing of everything; re-linking;
# truncating; commands to devices.
_FILE_ACCESS = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_NETWORK_ACCESS = ((4, 0b11),)  # binding and connecting TCP sockets
_SCOPES = ((6, 0b11),)  # abstract Unix sockets and signals of others


def _bits(table: tuple[tuple[int, int], ...], abi: int) -> int:
    return sum(bits for since, bits in table if since <= abi)


def ruleset_attributes(abi: int) -> bytes:
    """``struct landlock_ruleset_attr``, as long as that version of the kernel knows it.

    >>> len(ruleset_attributes(1)), len(ruleset_attributes(4)), len(ruleset_attributes(7))
    (8, 16, 24)
    """
    fields = [_bits(_FILE_ACCESS, abi)]
    if abi >= 4:
        fields.append(_bits(_NETWORK_ACCESS, abi))
    if abi >= 6:
        fields.append(_bits(_SCOPES, abi))
    return struct.pack(f"={len(fields)}Q", *fields)


def forbid_everything() -> None:
    """Gives up everything, for ever, and makes sure of it. Needs no-new-privileges before.

    Raises:
        OSError: the kernel has no Landlock, or refuses.
        RuntimeError: a directory can still be opened.
    """
    ruleset = kernel.landlock_create_ruleset(ruleset_attributes(kernel.landlock_abi()))
    try:
        kernel.landlock_restrict_self(ruleset)
    finally:
        os.close(ruleset)
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return
    raise RuntimeError("Landlock is set, and the root directory can still be opened")
