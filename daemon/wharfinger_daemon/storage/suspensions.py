"""Suspensions in the database, each change with its leaf of the audit log in one durable transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, insert, select

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.signing.suspension import Suspension
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.schema import signing_suspensions


class SqlSuspensions:
    """Implements ``SuspensionRecords``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def add(self, identity: str, suspension: Suspension) -> None:
        await self._journal.write(lambda transaction: _add(transaction, identity, suspension))

    async def remove(self, identity: str, repository: str, *, caller: str, at: datetime) -> None:
        await self._journal.write(lambda transaction: _remove(transaction, identity, repository, caller, at))

    async def all(self, names: Mapping[str, str]) -> list[Suspension]:
        return await self._journal.share(lambda transaction: _all(transaction, names), synced=False)


def _add(transaction: JournalTransaction, identity: str, suspension: Suspension) -> None:
    columns = signing_suspensions.c
    transaction.connection.execute(delete(signing_suspensions).where(columns.repository == identity))
    row = {
        "repository": identity,
        "reason": suspension.reason,
        "caller": suspension.caller,
        "since": suspension.since,
    }
    transaction.connection.execute(insert(signing_suspensions), row)
    details = {"repository": identity, "name": suspension.repository, "reason": suspension.reason}
    transaction.log(Leaf(Act.SIGNING_SUSPENDED, suspension.since, suspension.caller, details))


def _remove(transaction: JournalTransaction, identity: str, repository: str, caller: str, at: datetime) -> None:
    columns = signing_suspensions.c
    removed = transaction.connection.execute(delete(signing_suspensions).where(columns.repository == identity))
    if removed.rowcount:
        transaction.log(Leaf(Act.SIGNING_RESUMED, at, caller, {"repository": identity, "name": repository}))


def _all(transaction: JournalTransaction, names: Mapping[str, str]) -> list[Suspension]:
    columns = signing_suspensions.c
    query = select(columns.repository, columns.reason, columns.caller, columns.since).order_by(columns.repository)
    return [
        Suspension(names[row.repository], row.reason, row.caller, row.since)
        for row in transaction.connection.execute(query)
        if row.repository in names
    ]
