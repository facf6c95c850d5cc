"""Writes what a lost ledger can still be known to have signed, and opens new epochs: each with its leaf in the log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.signing.ledger import Epoch
from wharfinger_daemon.storage.journal import JournalTransaction
from wharfinger_daemon.storage.ledger import floor_statement, read_floors
from wharfinger_daemon.storage.schema import ledger_epochs, metadata_roles, publication_bins, publications

Details = Mapping[str, str | int]


def newest_epoch(connection: Connection, repository: str) -> tuple[Epoch, int]:
    """The epoch that counts for a repository, and the version of the root with which it was opened."""
    columns = ledger_epochs.c
    query = select(columns.number, columns.root_version).where(columns.repository == repository)
    row = connection.execute(query.order_by(columns.number.desc()).limit(1)).first()
    return (Epoch(repository), 1) if row is None else (Epoch(repository, row.number), row.root_version)


def raise_floors(
    transaction: JournalTransaction,
    epoch: Epoch,
    floors: Mapping[str, Mapping[str, int]],
    details: Details,
    at: datetime,
) -> dict[str, int]:
    """Raises floors to what a rebuilt ledger must have at least; one that is higher already stays.

    Returns:
        The floors of each role's own version that were raised.
    """
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


def open_epoch(
    transaction: JournalTransaction, epoch: Epoch, starts: Mapping[str, int], *, root_version: int, at: datetime
) -> None:
    """Opens an epoch, in which each role goes on above a version; rows of metadata that are above it come down.

    Args:
        epoch: the new one.
        root_version: of the newest verified root, which revokes the keys of the epoch before.
    """
    connection = transaction.connection
    row = {"repository": epoch.repository, "number": epoch.number, "root_version": root_version, "opened_at": at}
    connection.execute(insert(ledger_epochs), row)
    _write(transaction, epoch, {(role, role): version for role, version in starts.items()})
    lowered = (
        update(metadata_roles)
        .where(metadata_roles.c.repository == epoch.repository, metadata_roles.c.role == bindparam("of_role"))
        .where(metadata_roles.c.version > bindparam("start"))
        .values(version=bindparam("start"))
    )
    connection.execute(lowered, [{"of_role": role, "start": version} for role, version in starts.items()])
    # What was prepared in the epoch before is forgotten; what it was to show is in the rows, and published next.
    prepared = select(publications.c.id).where(
        publications.c.repository == epoch.repository, publications.c.state == "prepared"
    )
    connection.execute(delete(publication_bins).where(publication_bins.c.publication_id.in_(prepared)))
    connection.execute(delete(publications).where(publications.c.id.in_(prepared)))
    told = " ".join(f"{role}={version}" for role, version in sorted(starts.items()))
    details: Details = {
        "repository": epoch.repository,
        "epoch": epoch.number,
        "root_version": root_version,
        "starts_sha256": hashlib.sha256(told.encode()).hexdigest(),
    }
    transaction.log(Leaf(Act.EPOCH_OPENED, at, "local", details))


def _write(transaction: JournalTransaction, epoch: Epoch, floors: Mapping[tuple[str, str], int]) -> None:
    floor = floor_statement(transaction.connection)
    for (role, name), version in floors.items():
        transaction.add(floor, (epoch.repository, epoch.number, role, name, version))
