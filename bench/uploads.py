"""Targets as an index has them, as many as are wanted, no two with one path."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence

from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.targets import Target

BINS = HashBins(14)


class Uploads:
    """New targets, of some bins alone.

    Args:
        bins: their names; all if none are given.
        first: the number of the first one: those before it are somebody else's.
    """

    def __init__(self, bins: frozenset[str] = frozenset(), first: int = 0) -> None:
        self._bins = bins
        self._paths = self._all_paths(first)

    def take(self, count: int) -> list[Target]:
        """As many as are asked for."""
        return [Target(path, 123_456, {"sha256": hexadecimal(path)}) for path in itertools.islice(self._paths, count)]

    def _all_paths(self, first: int) -> Iterator[str]:
        for number in itertools.count(first):
            path = path_of(number)
            if not self._bins or BINS.role_for(path) in self._bins:
                yield path


def path_of(number: int) -> str:
    """The path of an upload."""
    digest = hexadecimal(str(number))
    return f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/some_project-1.{number}-py3-none-any.whl"


def by_bin(targets: Sequence[Target]) -> dict[str, list[Target]]:
    """Targets by the bin that lists them."""
    bins: dict[str, list[Target]] = {}
    for one in targets:
        bins.setdefault(BINS.role_for(one.path), []).append(one)
    return bins


def hexadecimal(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
