"""The Merkle tree of RFC 6962, section 2.1, over SHA-256.

Positions count from 0 within a level; level 0 are the leaves. The subtree at (level, position) is complete when all its
2**level leaves are there; its hash never changes again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The hash of a tree without leaves."""

STORED_LEVELS = 8
"""Hashes of complete subtrees are worth keeping at every level that is a multiple of this: others are computed from at
most 2**7 of the kept ones."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf: SHA-256 of a zero byte and its data."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node above two others: SHA-256 of a one byte and both."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Node:
    """A complete subtree."""

    level: int
    position: int
    hash: bytes


class Frontier:
    """The right edge of a tree: all that is needed to let it grow, and its root hash.

    Args:
        size: the number of leaves.
        hashes: of the complete subtrees that the leaves fall into, as ``complete_subtrees`` lists them.

    Raises:
        ValueError: the number of hashes does not fit the size.
    """

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if len(hashes) != size.bit_count():
            raise ValueError(f"A tree of {size} leaves has {size.bit_count()} complete subtrees, not {len(hashes)}.")
        self.size = size
        self._hashes = list(hashes)

    def copy(self) -> Frontier:
        """Another one, which grows by itself."""
        return Frontier(self.size, self._hashes)

    def append(self, leaf: bytes) -> Iterator[Node]:
        """Adds a leaf by its hash; yields the subtrees above level 0 that it completes. Exhaust the iterator."""
        level, position, value = 0, self.size, leaf
        while position & 1:
            value = node_hash(self._hashes.pop(), value)
            level, position = level + 1, position >> 1
            yield Node(level, position, value)
        self._hashes.append(value)
        self.size += 1

    def root(self) -> bytes:
        """The hash of the whole tree."""
        return fold(self._hashes)


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root hash above complete subtrees of falling size, the largest first."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for value in reversed(hashes[:-1]):
        root = node_hash(value, root)
    return root


def complete_subtrees(size: int) -> Iterator[tuple[int, int]]:
    """Level and position of the complete subtrees that a tree's leaves fall into, the largest first."""
    begin = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            yield level, begin >> level
            begin += 1 << level


def combine(hashes: Sequence[bytes]) -> bytes:
    """The hash of a complete subtree from those of 1, 2, 4, … complete subtrees of equal size in it, in order."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(level[index], level[index + 1]) for index in range(0, len(level), 2)]
    return level[0]
