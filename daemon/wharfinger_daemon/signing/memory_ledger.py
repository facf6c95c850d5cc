"""A ledger that forgets when the process ends: for tests. A real repository needs one that lasts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime

from wharfinger_daemon.errors import RefusedError
from wharfinger_daemon.signing.ledger import Epoch, LedgerState, Reservation, SignatureRecord, never_reserved


class MemoryLedger:
    """Implements ``Ledger``. Each method runs without giving way, so that none sees another half done."""

    def __init__(self) -> None:
        self._state = LedgerState({}, {})
        self._signatures: dict[tuple[Epoch, str, int, str], bytes] = {}

    async def reserve(
        self, reservations: Sequence[Reservation], *, max_version_jump: int, at: datetime
    ) -> list[bytes | None]:
        state = copy.deepcopy(self._state)
        state.admit_all(reservations, max_version_jump)
        self._state = LedgerState(state.digests, state.floors)
        return [self._signatures.get(_key(reservation)) for reservation in reservations]

    async def record(self, records: Sequence[SignatureRecord], *, at: datetime) -> list[bytes]:
        for record in records:
            reserved = record.reservation
            if self._state.digests.get(((reserved.epoch, reserved.role), reserved.version)) != reserved.digest:
                raise never_reserved(reserved)
        return [self._signatures.setdefault(_key(record.reservation), record.signature) for record in records]

    async def preview(
        self, reservations: Sequence[Reservation], *, max_version_jump: int
    ) -> list[bytes | RefusedError | None]:
        state = copy.deepcopy(self._state)
        return [
            state.refusal(reservation, max_version_jump) or self._signatures.get(_key(reservation))
            for reservation in reservations
        ]

    async def floors(self, epoch: Epoch) -> Mapping[str, Mapping[str, int]]:
        return {role: dict(floors) for (of, role), floors in self._state.floors.items() if of == epoch and floors}


def _key(reservation: Reservation) -> tuple[Epoch, str, int, str]:
    return reservation.epoch, reservation.role, reservation.version, reservation.keyid
