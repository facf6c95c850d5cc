"""The ledger in the database. The rules are ``signing.ledger``'s; here they are run inside the journal's transactions.

Transactions that reserve run one after another, or two could both find a version unused: the journal's do, in whatever
process, because each takes its turn before it reads. Floors are remembered between them, for as long as nobody else
changes the database; entries are read only for versions that are not above their floor, which are replays or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from sqlalchemy import (
    BigInteger,
    Connection,
    Insert,
    Select,
    String,
    and_,
    bindparam,
    column,
    insert,
    select,
    update,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite

from wharfinger_daemon.audit.leaf import LeafReference
from wharfinger_daemon.errors import RefusedError
from wharfinger_daemon.signing.ledger import (
    Epoch,
    Floors,
    LedgerState,
    Recorded,
    Requester,
    Reservation,
    RoleName,
    never_reserved,
    signature_leaf,
)
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.schema import audit_leaves, ledger_entries, ledger_floors, ledger_signatures

_ENTRIES_AT_ONCE = 400  # SQLite's oldest limit on the parameters of one statement is 999, and each takes two.

_ENTRY, _SIGNATURE = insert(ledger_entries), insert(ledger_signatures)
MADE = (
    update(ledger_signatures)
    .where(ledger_signatures.c.leaf == bindparam("of_leaf"), ledger_signatures.c.signature.is_(None))
    .values(signature=bindparam("made"))
)

_Version = tuple[RoleName, int]


@dataclass
class _Known:
    """What is on record of some versions, and of the keys that signed them."""

    entries: dict[_Version, tuple[int, bytes]] = field(default_factory=dict)
    by_key: dict[tuple[_Version, str], Recorded] = field(default_factory=dict)

    @property
    def digests(self) -> dict[_Version, bytes]:
        return {version: digest for version, (_, digest) in self.entries.items()}

    def signature(self, reservation: Reservation) -> bytes | None:
        recorded = self.by_key.get((_version(reservation), reservation.keyid))
        return None if recorded is None else recorded.signature


class SqlLedger:
    """Implements ``Ledger``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._floors = Floors()
        self._epochs: set[Epoch] = set()
        self._generation = 0

    async def reserve(
        self, reservations: Sequence[Reservation], requester: Requester, *, max_version_jump: int, at: datetime
    ) -> list[Recorded]:
        def work(transaction: JournalTransaction) -> list[Recorded]:
            shared = self._shared_floors(transaction, reservations)
            floors = Floors(shared)
            known = _known(transaction, _used(reservations, shared))
            LedgerState(floors, known.digests).admit_all(reservations, max_version_jump)
            recorded = [_enter(transaction, known, reservation, requester, at) for reservation in reservations]
            floor = floor_statement(transaction.connection)
            for (epoch, role), names in floors.own.items():
                for name, version in names.items():
                    transaction.add(floor, (epoch.repository, epoch.number, role, name, version))
            shared.raise_all(floors)
            return recorded

        return await self._journal.share(work)

    async def record(self, signatures: Sequence[tuple[LeafReference, bytes]], *, synced: bool) -> list[bytes]:
        def work(transaction: JournalTransaction) -> list[bytes]:
            if not signatures:
                return []
            transaction.flush()
            rows = [(signature, leaf.index) for leaf, signature in signatures]
            if transaction.execute_many(MADE, rows) == len(rows):
                return [signature for _, signature in signatures]
            return _on_record(transaction.connection, [leaf for leaf, _ in signatures])

        return await self._journal.share(work, synced=synced)

    async def preview(
        self, reservations: Sequence[Reservation], *, max_version_jump: int
    ) -> list[bytes | RefusedError | None]:
        def work(transaction: JournalTransaction) -> list[bytes | RefusedError | None]:
            shared = self._shared_floors(transaction, reservations)
            known = _known(transaction, _used(reservations, shared))
            state = LedgerState(Floors(shared), known.digests)
            return [state.refusal(one, max_version_jump) or known.signature(one) for one in reservations]

        return await self._journal.share(work, synced=False)

    async def floors(self, epoch: Epoch) -> Mapping[str, Mapping[str, int]]:
        def work(transaction: JournalTransaction) -> Mapping[str, Mapping[str, int]]:
            transaction.flush()
            return {role: names for (_, role), names in read_floors(transaction.connection, epoch).items()}

        return await self._journal.share(work, synced=False)

    def _shared_floors(self, transaction: JournalTransaction, reservations: Iterable[Reservation]) -> Floors:
        """The floors as this transaction has raised them so far, above those that are remembered."""
        shared = transaction.keep.get(self)
        if shared is None:
            if transaction.generation != self._generation:
                self._generation, self._floors, self._epochs = transaction.generation, Floors(), set()
            shared = transaction.keep[self] = Floors(self._floors)
            transaction.on_commit(lambda: self._floors.raise_all(shared))
        assert isinstance(shared, Floors)  # Nobody else keeps anything under this owner.
        for epoch in {one.epoch for one in reservations} - self._epochs:
            transaction.flush()
            self._floors.own.update(read_floors(transaction.connection, epoch))
            self._epochs.add(epoch)
        return shared


def _setting(into: sqlite.Insert | postgresql.Insert) -> Insert:
    key = list(ledger_floors.primary_key)
    return into.on_conflict_do_update(index_elements=key, set_={"version": into.excluded.version})


# Each database has a statement of its own for a row that may be there already.
_FLOORS = {
    "sqlite": _setting(sqlite.insert(ledger_floors)),
    "postgresql": _setting(postgresql.insert(ledger_floors)),
}


def floor_statement(connection: Connection) -> Insert:
    """Sets a floor, whether there is one or not; takes the values of a whole row of ``ledger_floors``."""
    return _FLOORS[connection.dialect.name]


def _used(reservations: Iterable[Reservation], floors: Floors) -> list[Reservation]:
    """Those whose version may have been used: only above its highest one is a role certainly fresh."""
    return [one for one in reservations if one.version <= floors.get((one.epoch, one.role), one.role)]


def _enter(
    transaction: JournalTransaction, known: _Known, reservation: Reservation, requester: Requester, at: datetime
) -> Recorded:
    """The record of a reservation that was admitted, made if it is new."""
    version = _version(reservation)
    recorded = known.by_key.get((version, reservation.keyid))
    if recorded is not None:
        return recorded
    leaf = transaction.log(signature_leaf(reservation, requester, at))
    if version not in known.entries:
        known.entries[version] = (leaf.index, reservation.digest)
        epoch = reservation.epoch
        row = (leaf.index, epoch.repository, epoch.number, reservation.role, reservation.version, reservation.digest)
        transaction.add(_ENTRY, row)
    transaction.add(_SIGNATURE, (leaf.index, known.entries[version][0], reservation.keyid, None))
    # The same item may stand twice in a batch.
    recorded = known.by_key[version, reservation.keyid] = Recorded(leaf, None)
    return recorded


def _known(transaction: JournalTransaction, reservations: Sequence[Reservation]) -> _Known:
    known = _Known()
    if not reservations:
        return known
    transaction.flush()
    for epoch, versions in _by_epoch(reservations):
        for entry, role, number, digest, keyid, leaf, leaf_hash, signature in transaction.connection.execute(
            _entries_of(epoch, versions)
        ):
            version = ((epoch, role), number)
            known.entries[version] = (entry, digest)
            known.by_key[version, keyid] = Recorded(LeafReference(leaf, leaf_hash), signature)
    return known


def _by_epoch(reservations: Iterable[Reservation]) -> Iterator[tuple[Epoch, list[tuple[str, int]]]]:
    wanted = sorted(
        {(one.epoch.repository, one.epoch.number, one.role, one.version) for one in reservations},
    )
    for (repository, number), group in groupby(wanted, key=lambda one: one[:2]):
        versions = [(role, version) for _, _, role, version in group]
        for start in range(0, len(versions), _ENTRIES_AT_ONCE):
            yield Epoch(repository, number), versions[start : start + _ENTRIES_AT_ONCE]


def _entries_of(
    epoch: Epoch, versions: Sequence[tuple[str, int]]
) -> Select[int, str, int, bytes, str, int, bytes, bytes | None]:
    """Entries, and what each key was asked to sign of them: there is one at least, written with the entry."""
    entries, signatures = ledger_entries.c, ledger_signatures.c
    # A join finds each entry through the index. For "(role, version) IN (…)" SQLite reads all entries of the epoch.
    wanted = values(column("role", String), column("version", BigInteger), name="wanted").data(versions).cte("wanted")
    return (
        select(
            entries.leaf,
            entries.role,
            entries.version,
            entries.digest,
            signatures.keyid,
            signatures.leaf,
            audit_leaves.c.hash,
            signatures.signature,
        )
        .select_from(wanted)
        .join(ledger_entries, and_(entries.role == wanted.c.role, entries.version == wanted.c.version))
        .join(ledger_signatures, signatures.entry == entries.leaf)
        .join(audit_leaves, audit_leaves.c.position == signatures.leaf)
        .where(entries.repository == epoch.repository, entries.epoch == epoch.number)
    )


def _on_record(connection: Connection, leaves: Sequence[LeafReference]) -> list[bytes]:
    columns = ledger_signatures.c
    found: dict[int, bytes] = {}
    for start in range(0, len(leaves), _ENTRIES_AT_ONCE):
        part = [leaf.index for leaf in leaves[start : start + _ENTRIES_AT_ONCE]]
        query = select(columns.leaf, columns.signature).where(columns.leaf.in_(part), columns.signature.is_not(None))
        found.update((leaf, signature) for leaf, signature in connection.execute(query))
    for leaf in leaves:
        if leaf.index not in found:
            raise never_reserved(leaf)
    return [found[leaf.index] for leaf in leaves]


def read_floors(connection: Connection, epoch: Epoch) -> dict[RoleName, dict[str, int]]:
    """All floors of an epoch."""
    columns = ledger_floors.c
    query = select(columns.role, columns.name, columns.version).where(
        columns.repository == epoch.repository, columns.epoch == epoch.number
    )
    floors: dict[RoleName, dict[str, int]] = {}
    for role, name, version in connection.execute(query):
        floors.setdefault((epoch, role), {})[name] = version
    return floors


def _version(reservation: Reservation) -> _Version:
    return (reservation.epoch, reservation.role), reservation.version
