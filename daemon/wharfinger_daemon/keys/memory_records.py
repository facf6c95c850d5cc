"""The lives of keys in memory: for tests."""

from __future__ import annotations

from collections.abc import Mapping

from wharfinger_daemon.audit.leaf import Leaf
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.keys.life_cycle import Keys, LineKey
from wharfinger_daemon.keys.records import Decision


class MemoryKeyRecords:
    """Implements ``KeyRecords``.

    Attributes:
        leaves: what was logged, oldest first.
        needed: by repository, then keyid.
        available: set to False, every method raises UnavailableError.
    """

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, LineKey]] = {}
        self.leaves: list[Leaf] = []
        self.needed: dict[str, dict[str, int]] = {}
        self.available = True

    async def all(self, repository: str) -> Keys:
        self._require_available()
        return dict(self._keys.get(repository, {}))

    async def change(self, repository: str, decide: Decision) -> Keys:
        changes = decide(await self.all(repository))
        kept = self._keys.setdefault(repository, {})
        kept.update({key.keyid: key for key in changes.keys})
        self.leaves += changes.leaves
        return dict(kept)

    async def needed_by(self, repository: str) -> Mapping[str, int]:
        self._require_available()
        return dict(self.needed.get(repository, {}))

    async def labels(self) -> frozenset[str]:
        self._require_available()
        return frozenset(key.label for keys in self._keys.values() for key in keys.values())

    def _require_available(self) -> None:
        if not self.available:
            raise UnavailableError("The records are switched off.", reason=Reason.DATABASE_UNAVAILABLE)
