"""Reviews in the database, each with its leaf of the audit log in one durable transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, insert, select, update

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.errors import NotFoundError, Reason
from wharfinger_daemon.scanning.model import Scan, ScanState
from wharfinger_daemon.scanning.moderation import (
    CheckRecord,
    Decision,
    QueuedProject,
    QueuedVerdict,
    QueueFilter,
    QueuePosition,
    Review,
)
from wharfinger_daemon.storage import review_queue
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.scan_schema import scans, verdict_reviews
from wharfinger_daemon.storage.scans import SqlScanRecords

T = TypeVar("T")
Log = Callable[[Leaf], object]


class SqlReviewRecords:
    """``scanning.moderation.ReviewRecords`` on the tables ``scans`` and ``verdict_reviews``.

    Args:
        journal: of a process that signs, which alone writes the audit log; without it ``tell`` is given the leaves.
        tell: what the process does with leaves otherwise, after they are true.
    """

    def __init__(self, database: Database, journal: Journal | None, tell: Log) -> None:
        self._database = database
        self._journal = journal
        self._tell = tell
        self._scans = SqlScanRecords(database)

    async def queue(
        self, queue_filter: QueueFilter, limit: int, after: QueuePosition | None = None
    ) -> Sequence[QueuedProject]:
        return await self._database.read(
            lambda connection: review_queue.projects(connection, queue_filter, limit, after)
        )

    async def scan(self, scan_id: str) -> Scan:
        return await self._scans.get(scan_id)

    async def reviews(self, scan_id: str) -> Sequence[Review]:
        columns = verdict_reviews.c
        query = select(verdict_reviews).where(columns.scan_id == scan_id).order_by(columns.id.desc())
        return await self._database.read(lambda connection: [_review(row) for row in connection.execute(query)])

    async def history(self, project: str, limit: int) -> Sequence[QueuedVerdict]:
        return await self._database.read(lambda connection: review_queue.history(connection, project, limit))

    async def next_waiting(self, besides: str) -> QueuedVerdict | None:
        return await self._database.read(lambda connection: review_queue.next_waiting(connection, besides))

    async def add(
        self, scan_ids: Sequence[str], decision: Decision, reason: str, reviewer: str, at: datetime
    ) -> Sequence[Review]:
        def work(connection: Connection, log: Log) -> list[Review]:
            return [_add(connection, log, scan_id, decision, reason, reviewer, at) for scan_id in sorted(scan_ids)]

        return await self._write(work)

    async def undo(self, scan_id: str, reviewer: str, at: datetime) -> Review | None:
        return await self._write(lambda connection, log: _undo(connection, log, scan_id, reviewer, at))

    async def check_records(self, since: datetime, days: int) -> Sequence[CheckRecord]:
        until = since + timedelta(days=days)
        return await self._database.read(lambda connection: review_queue.check_records(connection, since, until, days))

    async def _write(self, work: Callable[[Connection, Log], T]) -> T:
        if self._journal is not None:
            return await self._journal.write(lambda transaction: work(transaction.connection, transaction.log))
        leaves: list[Leaf] = []
        done = await self._database.run(lambda connection: work(connection, leaves.append))
        for leaf in leaves:
            self._tell(leaf)
        return done


def _add(
    connection: Connection, log: Log, scan_id: str, decision: Decision, reason: str, reviewer: str, at: datetime
) -> Review:
    scan = _locked(connection, scan_id)
    values = {
        "scan_id": scan_id,
        "decision": decision.value,
        "reason": reason,
        "reviewer": reviewer,
        "decided_at": at,
        "undone_by": "",
    }
    key = connection.execute(insert(verdict_reviews).values(values)).inserted_primary_key
    assert key is not None  # The table has one.
    _stand(connection, scan_id, decision.value)
    log(Leaf(Act.VERDICT_REVIEWED, at, reviewer, {**_named(scan), "decision": decision.value, "reason": reason}))
    return Review(key[0], scan_id, decision, reason, reviewer, at)


def _undo(connection: Connection, log: Log, scan_id: str, reviewer: str, at: datetime) -> Review | None:
    scan = _locked(connection, scan_id)
    columns = verdict_reviews.c
    standing = select(verdict_reviews).where(columns.scan_id == scan_id, columns.undone_at.is_(None))
    rows = connection.execute(standing.order_by(columns.id.desc()).limit(2)).all()
    if not rows:
        return None
    change = update(verdict_reviews).where(columns.id == rows[0].id).values(undone_by=reviewer, undone_at=at)
    connection.execute(change)
    _stand(connection, scan_id, rows[1].decision if len(rows) > 1 else None)
    log(Leaf(Act.VERDICT_REVIEW_UNDONE, at, reviewer, {**_named(scan), "decision": rows[0].decision}))
    return _review(connection.execute(select(verdict_reviews).where(columns.id == rows[0].id)).one())


def _locked(connection: Connection, scan_id: str) -> Row[Any]:
    """The row of a scan with a verdict; others who review it wait until this transaction ends."""
    finished = (scans.c.scan_id == scan_id, scans.c.state == ScanState.FINISHED.value)
    row = connection.execute(select(scans).where(*finished).with_for_update()).one_or_none()
    if row is None:
        raise NotFoundError("There is no verdict with this identifier.", reason=Reason.SCAN_NOT_FOUND)
    return row


def _stand(connection: Connection, scan_id: str, decision: str | None) -> None:
    connection.execute(update(scans).where(scans.c.scan_id == scan_id).values(decision=decision))


def _named(scan: Row[Any]) -> dict[str, str | int]:
    return {"scan": scan.scan_id, "project": scan.project, "sha256": scan.sha256}


def _review(row: Row[Any]) -> Review:
    return Review(
        review_id=row.id,
        scan_id=row.scan_id,
        decision=Decision(row.decision),
        reason=row.reason,
        reviewer=row.reviewer,
        decided_at=row.decided_at,
        undone_by=row.undone_by,
        undone_at=row.undone_at,
    )
