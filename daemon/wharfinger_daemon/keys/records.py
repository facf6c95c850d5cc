"""Where the lives of keys are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.keys.life_cycle import Keys, LineKey
from wharfinger_daemon.signing.trust import TrustedRepository

LOCAL = "local"


@dataclass(frozen=True)
class Changes:
    """What is to be written: keys as they are from now on, and what the log says of it."""

    keys: tuple[LineKey, ...] = ()
    leaves: tuple[Leaf, ...] = ()

    def __add__(self, other: Changes) -> Changes:
        return Changes(self.keys + other.keys, self.leaves + other.leaves)


Decision = Callable[[Keys], Changes]
"""From all keys of a repository to what changes. It may be asked in another thread."""


class KeyRecords(Protocol):
    """The lives of the keys of all repositories; a repository is named by its identity, the SHA-256 of its root 1.

    Raises:
        UnavailableError: from every method, when the records cannot be read or written.
    """

    async def all(self, repository: str) -> Keys:
        """The keys of a repository, destroyed ones too."""
        ...

    async def change(self, repository: str, decide: Decision) -> Keys:
        """Changes the keys of a repository, and logs it, in one durable transaction.

        Returns:
            All its keys afterwards.

        Raises:
            WharfingerError: what ``decide`` raises. Then nothing was written.
        """
        ...

    async def needed_by(self, repository: str) -> Mapping[str, int]:
        """How many roles have their newest version, published or prepared, signed by which key. A key that none needs
        may be left out."""
        ...

    async def labels(self) -> frozenset[str]:
        """Every label that a key of any repository ever had."""
        ...


def leaf_of(act: Act, key: LineKey, trusted: TrustedRepository, caller: str, at: datetime, **more: str | int) -> Leaf:
    """What the log says of a key: which it is, and under which verified metadata it was decided."""
    versions = {f"{role}_version": version for role, version in trusted.versions.items()}
    return key_leaf(act, key, trusted.epoch.repository, caller, at, **versions, **more)


def key_leaf(act: Act, key: LineKey, repository: str, caller: str, at: datetime, **more: str | int) -> Leaf:
    """What the log says of a key where no metadata has a say."""
    said = {"repository": repository, "line": key.line, "keyid": key.keyid, "label": key.label, "scheme": key.scheme}
    return Leaf(act, at, caller, {**said, **more})
