"""The queue of changes in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from wharfinger_daemon.errors import Reason
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.queue import KEPT, Outcome, QueuedChange, Refusal, lost
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.metadata.waiting import PublicationResult
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.schema import queued_changes

_COLUMNS = queued_changes.c


class SqlChangeQueue:
    """``metadata.queue.ChangeQueue`` on the table ``queued_changes``.

    Args:
        repository: its identity, the hexadecimal SHA-256 of its trusted root 1.
        journal: writes what came of changes, where there is one: in the place of the signer.
    """

    def __init__(self, database: Database, repository: str, journal: Journal | None = None) -> None:
        self._database = database
        self._repository = repository
        self._journal = journal

    async def put(self, change: Change) -> int:
        row = {"repository": self._repository, "change": _change_text(change)}

        def work(connection: Connection) -> int:
            inserted = connection.execute(insert(queued_changes), row).inserted_primary_key
            assert inserted is not None  # One row was inserted.
            number: int = inserted[0]
            return number

        return await self._database.run(work)

    async def outcome(self, number: int) -> Outcome | None:
        query = select(_COLUMNS.outcome).where(_COLUMNS.number == number)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise lost(number)
        return None if row.outcome is None else _outcome(row.outcome)

    async def withdraw(self, number: int) -> None:
        query = delete(queued_changes).where(_COLUMNS.number == number, _COLUMNS.outcome.is_(None))
        await self._database.run(lambda connection: connection.execute(query))

    async def waiting(self, most: int) -> list[QueuedChange]:
        query = (
            select(_COLUMNS.number, _COLUMNS.change)
            .where(_COLUMNS.repository == self._repository, _COLUMNS.settled_at.is_(None))
            .order_by(_COLUMNS.number)
            .limit(most)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [QueuedChange(row.number, _change(row.change)) for row in rows]

    async def settle(self, outcomes: Mapping[int, Outcome], at: datetime) -> None:
        settled = [
            {"its_number": number, "its_outcome": _outcome_text(outcome), "its_time": at}
            for number, outcome in outcomes.items()
        ]
        one = (
            update(queued_changes)
            .where(_COLUMNS.number == bindparam("its_number"))
            .values(outcome=bindparam("its_outcome"), settled_at=bindparam("its_time"))
        )
        old = delete(queued_changes).where(_COLUMNS.repository == self._repository, _COLUMNS.settled_at < at - KEPT)

        def work(connection: Connection) -> None:
            connection.execute(one, settled)
            connection.execute(old)

        if self._journal is None:
            await self._database.run(work)
        else:
            await self._journal.write(lambda transaction: work(transaction.connection))


def _change_text(change: Change) -> str:
    added = [{"path": one.path, "length": one.length, "hashes": dict(one.hashes)} for one in change.add.values()]
    return orjson.dumps({"add": added, "remove": sorted(change.remove)}).decode()


def _change(text: str) -> Change:
    read = orjson.loads(text)
    return Change({one["path"]: Target(**one) for one in read["add"]}, frozenset(read["remove"]))


def _outcome_text(outcome: Outcome) -> str:
    name = "refusal" if isinstance(outcome, Refusal) else "result"
    return orjson.dumps({name: asdict(outcome)}).decode()


def _outcome(text: str) -> Outcome:
    read = orjson.loads(text)
    if "result" in read:
        return PublicationResult(**read["result"])
    refusal = read["refusal"]
    return Refusal(**refusal | {"reason": Reason(refusal["reason"])})
