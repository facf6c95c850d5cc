"""Writes what a lost ledger can still be known to have signed, and opens new epochs: each with its leaf in the log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, insert, select

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.signing.ledger import Epoch
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.ledger import FLOOR, read_floors
from wharfinger_daemon.storage.schema import ledger_epochs

Details = Mapping[str, str | int]


def newest_epoch(database: Database, repository: str) -> tuple[Epoch, int]:
    """The epoch that counts for a repository, and the version of the root with which it was opened."""

    def work(connection: Connection) -> tuple[Epoch, int]:
        columns = ledger_epochs.c
        query = select(columns.number, columns.root_version).where(columns.repository == repository)
        row = connection.execute(query.order_by(columns.number.desc()).limit(1)).first()
        return (Epoch(repository), 1) if row is None else (Epoch(repository, row.number), row.root_version)

    return database.run_blocking(work)


def raise_floors(
    journal: Journal, epoch: Epoch, floors: Mapping[str, Mapping[str, int]], details: Details, at: datetime
) -> dict[str, int]:
    """Raises floors to what a rebuilt ledger must have at least; one that is higher already stays.

    Returns:
        The floors of each role's own version that were raised.

    Raises:
        UnavailableError: the database does not answer. Nothing was written.
    """

    def work(transaction: JournalTransaction) -> dict[str, int]:
        present = {role: names for (_, role), names in read_floors(transaction.connection, epoch).items()}
        raised = {
            (role, name): version
            for role, names in floors.items()
            for name, version in names.items()
            if version > present.get(role, {}).get(name, 0)
        }
        _write(transaction, epoch, raised)
        transaction.log(Leaf(Act.LEDGER_REBUILT, at, "local", {"repository": epoch.repository, **details}))
        return {role: version for (role, name), version in raised.items() if role == name}

    return journal.write_blocking(work)


def open_epoch(
    journal: Journal,
    epoch: Epoch,
    floors: Mapping[str, Mapping[str, int]],
    *,
    root_version: int,
    details: Details,
    at: datetime,
) -> None:
    """Opens an epoch, which starts above the given floors.

    Args:
        epoch: the new one.
        root_version: of the newest verified root, which revokes the keys of the epoch before.

    Raises:
        UnavailableError: the database does not answer, or has such an epoch already. Nothing was written.
    """

    def work(transaction: JournalTransaction) -> None:
        row = {
            "repository": epoch.repository,
            "number": epoch.number,
            "root_version": root_version,
            "opened_at": at,
        }
        transaction.connection.execute(insert(ledger_epochs), row)
        _write(
            transaction,
            epoch,
            {(role, name): version for role, names in floors.items() for name, version in names.items()},
        )
        said = {"repository": epoch.repository, "epoch": epoch.number, "root_version": root_version, **details}
        transaction.log(Leaf(Act.EPOCH_OPENED, at, "local", said))

    journal.write_blocking(work)


def _write(transaction: JournalTransaction, epoch: Epoch, floors: Mapping[tuple[str, str], int]) -> None:
    for (role, name), version in floors.items():
        transaction.add(FLOOR, (epoch.repository, epoch.number, role, name, version))
