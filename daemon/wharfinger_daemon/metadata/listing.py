"""The listing of a bin: the members of ``targets`` in canonical JSON, between the braces.

A listing is changed without being parsed: its entries are sorted by path, and nothing in them is escaped. So an entry
is found by bisection, and the rest is copied.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from wharfinger_daemon.metadata.targets import Target

# Bytes of an entry with the longest path, the greatest length and all hashes that a target may have, and its comma.
LARGEST_ENTRY = 1_400

# Where one entry ends and the next begins. No path has a quotation mark, and before the one that opens a path there is
# never a letter: so no path can look like this.
_BETWEEN = re.compile(rb'h":[0-9]+},(?=")')


def entry_of(target: Target) -> bytes:
    """The entry of one target, in canonical JSON."""
    hashes = ",".join([f'"{algorithm}":"{value}"' for algorithm, value in sorted(target.hashes.items())])
    return f'"{target.path}":{{"hashes":{{{hashes}}},"length":{target.length}}}'.encode("ascii")


def listing_of(targets: Iterable[Target]) -> bytes:
    """The listing of these targets, in whatever order they come.

    Args:
        targets: no path twice.
    """
    return b",".join([entry_of(target) for target in sorted(targets, key=_path)])


def changed(listing: bytes, add: Mapping[str, Target], remove: Collection[str]) -> bytes:
    """The listing that comes of a change: entries are added, replaced or gone, whether they were there or not.

    Args:
        listing: as ``listing_of`` writes it.
        add: by path; no path is in both.
    """
    paths = sorted({*add, *remove})
    if not paths:
        return listing
    ended = listing + b"," if listing else b""  # So that every entry ends in the same way.
    pieces: list[bytes] = []
    copied = 0
    for path in paths:
        begin, end = _place(ended, path.encode("ascii"), copied)
        pieces.append(ended[copied:begin])
        if path in add:
            pieces += entry_of(add[path]), b","
        copied = end
    pieces.append(ended[copied:])
    return b"".join(pieces)[:-1]


def _place(ended: bytes, path: bytes, low: int) -> tuple[int, int]:
    """Where the entry of a path begins and ends, from ``low`` on; both are where it would be, if it is not there."""
    high = len(ended)
    while low < high:
        begin, end = _entry_around(ended, low, high)
        present = ended[begin + 1 : ended.index(b'"', begin + 1)]
        if present == path:
            return begin, end
        if present < path:
            low = end
        else:
            high = begin
    return low, low


def _entry_around(ended: bytes, low: int, high: int) -> tuple[int, int]:
    """The first of some whole entries that begins in their second half, or the first of all."""
    found = _BETWEEN.search(ended, low + (high - low) // 2, high)
    begin = low if found is None else found.end()
    following = _BETWEEN.search(ended, begin, high)
    return begin, high if following is None else following.end()


def _path(target: Target) -> str:
    return target.path
