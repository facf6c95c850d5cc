"""A ledger that forgets when the process ends: for tests. A real repository needs one that lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from wharfinger_daemon.audit.leaf import Leaf, LeafReference
from wharfinger_daemon.errors import RefusedError
from wharfinger_daemon.signing.ledger import (
    Epoch,
    Floors,
    LedgerState,
    Recorded,
    Requester,
    Reservation,
    never_reserved,
    signature_leaf,
)


class MemoryLedger:
    """Implements ``Ledger``. Each method runs without giving way, so that none sees another half done.

    Attributes:
        log: the leaves.
    """

    def __init__(self) -> None:
        self.log: list[Leaf] = []
        self._state = LedgerState(Floors())
        self._leaves: dict[tuple[Epoch, str, int, str], LeafReference] = {}
        self._signatures: dict[int, bytes | None] = {}

    async def reserve(
        self, reservations: Sequence[Reservation], requester: Requester, *, max_version_jump: int, at: datetime
    ) -> list[Recorded]:
        floors = Floors(self._state.floors)
        state = LedgerState(floors, dict(self._state.digests))
        state.admit_all(reservations, max_version_jump)
        self._state.floors.raise_all(floors)
        self._state.digests = state.digests
        return [self._enter(reservation, requester, at) for reservation in reservations]

    async def record(self, signatures: Sequence[tuple[LeafReference, bytes]], *, synced: bool) -> list[bytes]:
        for leaf, _ in signatures:
            if leaf.index not in self._signatures:
                raise never_reserved(leaf)
        return [self._record(leaf.index, signature) for leaf, signature in signatures]

    async def preview(
        self, reservations: Sequence[Reservation], *, max_version_jump: int
    ) -> list[bytes | RefusedError | None]:
        state = LedgerState(Floors(self._state.floors), dict(self._state.digests))
        return [state.refusal(one, max_version_jump) or self._signature(one) for one in reservations]

    async def floors(self, epoch: Epoch) -> Mapping[str, Mapping[str, int]]:
        return {role: dict(names) for (of, role), names in self._state.floors.own.items() if of == epoch}

    def _enter(self, reservation: Reservation, requester: Requester, at: datetime) -> Recorded:
        leaf = self._leaves.get(_key(reservation))
        if leaf is None:
            said = signature_leaf(reservation, requester, at)
            leaf = self._leaves[_key(reservation)] = said.refer(len(self.log))
            self.log.append(said)
            self._signatures[leaf.index] = None
        return Recorded(leaf, self._signatures[leaf.index])

    def _record(self, leaf: int, signature: bytes) -> bytes:
        present = self._signatures[leaf]
        self._signatures[leaf] = signature if present is None else present
        return signature if present is None else present

    def _signature(self, reservation: Reservation) -> bytes | None:
        leaf = self._leaves.get(_key(reservation))
        return None if leaf is None else self._signatures[leaf.index]


def _key(reservation: Reservation) -> tuple[Epoch, str, int, str]:
    return reservation.epoch, reservation.role, reservation.version, reservation.keyid
