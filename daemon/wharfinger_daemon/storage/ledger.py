"""The ledger in the database. The rules are ``signing.ledger``'s; here they are run inside transactions.

Transactions that reserve must run one after another, or two could both find a version unused. SQLite's do (see
``database.py``), and across processes too, because they take the write lock before they read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import BigInteger, Connection, Select, String, and_, bindparam, column, insert, select, update, values

from wharfinger_daemon.errors import RefusedError
from wharfinger_daemon.signing.ledger import (
    Epoch,
    LedgerState,
    Reservation,
    RoleName,
    SignatureRecord,
    never_reserved,
)
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.schema import ledger_entries, ledger_floors, ledger_signatures

_ENTRIES_AT_ONCE = 400  # SQLite's oldest limit on the parameters of one statement is 999, and each takes two.


@dataclass
class _Recorded:
    """What is on record of the versions in a batch."""

    entries: dict[tuple[RoleName, int], tuple[int, bytes]]
    signatures: dict[tuple[RoleName, int, str], bytes]

    def signature(self, reservation: Reservation) -> bytes | None:
        return self.signatures.get((_role(reservation), reservation.version, reservation.keyid))


class SqlLedger:
    """Implements ``Ledger``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self, reservations: Sequence[Reservation], *, max_version_jump: int, at: datetime
    ) -> list[bytes | None]:
        def work(connection: Connection) -> list[bytes | None]:
            recorded = _recorded(connection, reservations)
            state, stored = _state(connection, reservations, recorded)
            state.admit_all(reservations, max_version_jump)
            _write_entries(connection, state.reserved, at)
            _write_floors(connection, state.raised, stored)
            return [recorded.signature(reservation) for reservation in reservations]

        return await self._database.run(work)

    async def record(self, records: Sequence[SignatureRecord], *, at: datetime) -> list[bytes]:
        def work(connection: Connection) -> list[bytes]:
            recorded = _recorded(connection, [record.reservation for record in records])
            rows = []
            for record in records:
                reservation = record.reservation
                role = _role(reservation)
                entry, digest = recorded.entries.get((role, reservation.version), (0, b""))
                if digest != reservation.digest:
                    raise never_reserved(reservation)
                if recorded.signature(reservation) is None:
                    recorded.signatures[role, reservation.version, reservation.keyid] = record.signature
                    rows.append(_signature_row(entry, record, at))
            if rows:
                connection.execute(insert(ledger_signatures), rows)
            return [
                recorded.signatures[_role(one.reservation), one.reservation.version, one.reservation.keyid]
                for one in records
            ]

        return await self._database.run(work)

    async def preview(
        self, reservations: Sequence[Reservation], *, max_version_jump: int
    ) -> list[bytes | RefusedError | None]:
        def work(connection: Connection) -> list[bytes | RefusedError | None]:
            recorded = _recorded(connection, reservations)
            state, _ = _state(connection, reservations, recorded)
            return [
                state.refusal(reservation, max_version_jump) or recorded.signature(reservation)
                for reservation in reservations
            ]

        return await self._database.run(work)

    async def floors(self, epoch: Epoch) -> Mapping[str, Mapping[str, int]]:
        def work(connection: Connection) -> Mapping[str, Mapping[str, int]]:
            floors: dict[str, dict[str, int]] = {}
            for role, name, version in connection.execute(_floors_of(epoch)):
                floors.setdefault(role, {})[name] = version
            return floors

        return await self._database.run(work)


def _role(reservation: Reservation) -> RoleName:
    return reservation.epoch, reservation.role


def _floors_of(epoch: Epoch) -> Select[str, str, int]:
    floors = ledger_floors.c
    return select(floors.role, floors.name, floors.version).where(
        floors.repository == epoch.repository, floors.epoch == epoch.number
    )


def _by_epoch(reservations: Iterable[Reservation]) -> Iterator[tuple[Epoch, list[tuple[str, int]]]]:
    """The distinct roles and versions of each epoch, in portions that one statement can take."""

    def order(epoch: Epoch) -> tuple[str, int]:
        return epoch.repository, epoch.number

    wanted = {(one.epoch, one.role, one.version) for one in reservations}
    ordered = sorted(wanted, key=lambda one: (order(one[0]), one[1], one[2]))
    for epoch, members in groupby(ordered, key=lambda one: one[0]):
        versions = [(role, version) for _, role, version in members]
        for start in range(0, len(versions), _ENTRIES_AT_ONCE):
            yield epoch, versions[start : start + _ENTRIES_AT_ONCE]


def _entries_of(epoch: Epoch, versions: Sequence[tuple[str, int]]) -> Select[int, str, int, bytes, str, bytes]:
    """Entries and their signatures; without a signature the last two columns are null."""
    entries = ledger_entries.c
    # A join finds each entry through the index. For "(role, version) IN (…)" SQLite reads all entries of the epoch.
    wanted = values(column("role", String), column("version", BigInteger), name="wanted").data(versions).cte("wanted")
    return (
        select(
            entries.id,
            entries.role,
            entries.version,
            entries.digest,
            ledger_signatures.c.keyid,
            ledger_signatures.c.signature,
        )
        .select_from(wanted)
        .join(ledger_entries, and_(entries.role == wanted.c.role, entries.version == wanted.c.version))
        .outerjoin(ledger_signatures, ledger_signatures.c.entry_id == entries.id)
        .where(entries.repository == epoch.repository, entries.epoch == epoch.number)
    )


def _recorded(connection: Connection, reservations: Iterable[Reservation]) -> _Recorded:
    recorded = _Recorded({}, {})
    for epoch, versions in _by_epoch(reservations):
        query = _entries_of(epoch, versions)
        for entry, role, version, digest, keyid, signature in connection.execute(query):
            recorded.entries[(epoch, role), version] = (entry, digest)
            if keyid is not None:
                recorded.signatures[(epoch, role), version, keyid] = signature
    return recorded


def _state(
    connection: Connection, reservations: Sequence[Reservation], recorded: _Recorded
) -> tuple[LedgerState, set[tuple[RoleName, str]]]:
    """The picture for the rules, and which floors have a row."""
    floors: dict[RoleName, dict[str, int]] = {}
    for epoch, versions in _by_epoch(reservations):
        query = _floors_of(epoch).where(ledger_floors.c.role.in_({role for role, _ in versions}))
        for role, name, version in connection.execute(query):
            floors.setdefault((epoch, role), {})[name] = version
    named = {(one.epoch, name) for one in reservations for name in one.meta}
    for epoch in {epoch for epoch, _ in named}:
        own = _floors_of(epoch).where(ledger_floors.c.name == ledger_floors.c.role)
        for role, name, version in connection.execute(own):
            if (epoch, role) in named:
                floors.setdefault((epoch, role), {})[name] = version
    stored = {(role, name) for role, names in floors.items() for name in names}
    digests = {version: digest for version, (_, digest) in recorded.entries.items()}
    return LedgerState(digests, floors), stored


def _write_entries(connection: Connection, reservations: Iterable[Reservation], at: datetime) -> None:
    rows = [
        {
            "repository": reservation.epoch.repository,
            "epoch": reservation.epoch.number,
            "role": reservation.role,
            "version": reservation.version,
            "digest": reservation.digest,
            "recorded_at": at,
        }
        for reservation in reservations
    ]
    if rows:
        connection.execute(insert(ledger_entries), rows)


def _write_floors(
    connection: Connection, raised: Mapping[tuple[RoleName, str], int], stored: set[tuple[RoleName, str]]
) -> None:
    floors = ledger_floors.c
    rows = {
        (role, name): {
            "of_repository": role[0].repository,
            "of_epoch": role[0].number,
            "of_role": role[1],
            "of_name": name,
            "version": version,
        }
        for (role, name), version in raised.items()
    }
    higher = [row for key, row in rows.items() if key in stored]
    new = [
        {key.removeprefix("of_"): value for key, value in row.items()} for of, row in rows.items() if of not in stored
    ]
    if higher:
        connection.execute(
            update(ledger_floors).where(
                floors.repository == bindparam("of_repository"),
                floors.epoch == bindparam("of_epoch"),
                floors.role == bindparam("of_role"),
                floors.name == bindparam("of_name"),
            ),
            higher,
        )
    if new:
        connection.execute(insert(ledger_floors), new)


def _signature_row(entry: int, record: SignatureRecord, at: datetime) -> dict[str, object]:
    return {
        "entry_id": entry,
        "keyid": record.reservation.keyid,
        "signature": record.signature,
        "caller": record.caller,
        "request_id": record.request_id,
        "signed_at": at,
    }
