"""Destroying a key: it is written down before the token is asked, and again when the key is gone.

Whoever is killed in between finds the destruction begun, and can only finish it.
"""

from __future__ import annotations

from wharfinger_daemon.audit.leaf import Act
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import Reason, RefusedError
from wharfinger_daemon.keys import life_cycle
from wharfinger_daemon.keys.life_cycle import Keys, LineKey
from wharfinger_daemon.keys.records import Changes, KeyRecords, key_leaf, leaf_of
from wharfinger_daemon.keys.succession import Situation


class Destruction:
    """The destruction of one key.

    Args:
        situation: as it is now; the key may only be destroyed where nothing lists it.
        caller: who asks.
    """

    def __init__(self, records: KeyRecords, situation: Situation, keyid: str, clock: Clock, *, caller: str) -> None:
        self._records = records
        self._situation = situation
        self._keyid = keyid
        self._clock = clock
        self._caller = caller

    async def require_allowed(self) -> LineKey:
        """The key, if it may be destroyed now. Changes nothing.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            RefusedError: KEY_STATE_INVALID, KEY_STILL_NEEDED; or KEY_NOT_HELD: no token shows the key, which does not
                prove that it is gone, unless its destruction was begun before.
        """
        keys, needed = await self._records.all(self._repository), await self._needed()
        key = life_cycle.find(keys, self._keyid)
        self._begun(key, needed)
        if key.destroyed_at is None and not self._situation.evidence(key).held:
            raise RefusedError(
                f"No token shows key {key.keyid} ('{key.label}'). A key that is missing is not destroyed: configure "
                "the token that holds it, then destroy it.",
                reason=Reason.KEY_NOT_HELD,
                keyid=key.keyid,
            )
        return key

    async def begin(self) -> LineKey:
        """Writes down that the key is about to be destroyed.

        Raises:
            NotFoundError, RefusedError: as from ``require_allowed``, by the rows as they are now.
        """
        needed = await self._needed()

        def decide(keys: Keys) -> Changes:
            key = life_cycle.find(keys, self._keyid)
            begun = self._begun(key, needed)
            if begun == key:
                return Changes()
            situation = self._situation
            leaf = leaf_of(
                Act.KEY_DESTROYED, begun, situation.trusted, self._caller, self._clock.now(), step="about to be"
            )
            return Changes((begun,), (leaf,))

        return (await self._records.change(self._repository, decide))[self._keyid]

    async def finish(self) -> LineKey:
        """Writes down that no token holds the key any more."""

        def decide(keys: Keys) -> Changes:
            key = life_cycle.find(keys, self._keyid)
            gone = life_cycle.finish_destruction(key)
            if gone == key:
                return Changes()
            leaf = key_leaf(Act.KEY_DESTROYED, gone, self._repository, self._caller, self._clock.now(), step="done")
            return Changes((gone,), (leaf,))

        return (await self._records.change(self._repository, decide))[self._keyid]

    @property
    def _repository(self) -> str:
        return self._situation.trusted.epoch.repository

    async def _needed(self) -> int:
        return (await self._records.needed_by(self._repository)).get(self._keyid, 0)

    def _begun(self, key: LineKey, needed: int) -> LineKey:
        return life_cycle.begin_destruction(key, self._situation.evidence(key), needed, self._situation.at)
