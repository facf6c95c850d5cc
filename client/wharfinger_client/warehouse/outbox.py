"""What is still to be done, in the application's own database: written with the change, deleted when it is done.

A job is a row that commits or rolls back with the change that caused it, also to a savepoint. So the broker, the
workers and the daemon may all be away: what was committed is known, and ``Outbox.due`` finds it. Rows are only ever
added and deleted, so that uploads do not wait for one another.

A lease keeps two workers from doing the same job at once, without a transaction or a connection that lasts as long as
the call: otherwise the older of two renderings could be published last. A worker that lost its lease, because it was
stopped for longer than that, adds the job again: whatever it did late is then done anew from the present state.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Identity,
    Index,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

_MOST_ROWS = 1000

metadata = MetaData()
jobs = Table(
    "wharfinger_jobs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("subject", String, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Index("wharfinger_jobs_subject", "kind", "subject", "id"),
)
leases = Table(
    "wharfinger_leases",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("subject", String, primary_key=True),
    Column("holder", String(36), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
)


class JobKind(StrEnum):
    """What is to be done."""

    PUBLISH = "publish"
    SCAN = "scan"


@dataclass(frozen=True, order=True)
class Job:
    """``subject`` is the normalized name of a project to publish, or the id of a file to scan."""

    kind: JobKind
    subject: str


@dataclass(frozen=True)
class Claim:
    """The right to do a job, and the rows that are done by that.

    The rows are named one by one: a transaction that commits late may have a lower id than one that was seen.
    """

    job: Job
    holder: str
    ids: tuple[int, ...]


def add(connection: Connection, wanted: set[Job]) -> None:
    """Adds jobs, in the transaction of the connection."""
    if wanted:
        rows = [{"kind": job.kind.value, "subject": job.subject} for job in sorted(wanted)]
        connection.execute(insert(jobs), rows)


class Outbox:
    """The jobs. ``sessions`` makes sessions of the application's database; each method is one short transaction."""

    def __init__(self, sessions: Callable[[], Session]) -> None:
        self._sessions = sessions

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A short transaction, committed at the end."""
        with self._sessions() as session, session.begin():
            yield session

    def add(self, wanted: set[Job]) -> None:
        """Adds jobs."""
        with self.transaction() as session:
            add(session.connection(), wanted)

    def claim(self, job: Job, seconds: float) -> Claim | None:
        """Takes a job for some seconds, or returns None: it is done, or somebody else does it."""
        holder = str(uuid.uuid4())
        until = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
        key = {"kind": job.kind.value, "subject": job.subject}
        with self.transaction() as session:
            taken = postgresql.insert(leases).values(**key, holder=holder, until=until)
            taken = taken.on_conflict_do_update(
                index_elements=[leases.c.kind, leases.c.subject],
                set_={"holder": holder, "until": until},
                where=leases.c.until < func.clock_timestamp(),
            )
            if session.execute(taken.returning(leases.c.holder)).scalar() != holder:
                return None
            ids = tuple(session.execute(select(jobs.c.id).where(*_of(job)).limit(_MOST_ROWS)).scalars())
            if not ids:
                session.execute(delete(leases).where(leases.c.holder == holder))
                return None
        return Claim(job, holder, ids)

    def finish(self, claim: Claim) -> bool:
        """Gives the lease back and deletes what was done. True if the job has to be done again."""
        with self.transaction() as session:
            if not self._release(session, claim):
                add(session.connection(), {claim.job})
                return True
            session.execute(delete(jobs).where(jobs.c.id.in_(claim.ids)))
            return session.execute(select(jobs.c.id).where(*_of(claim.job)).limit(1)).first() is not None

    def give_up(self, claim: Claim) -> None:
        """Gives the lease back; the job stays."""
        with self.transaction() as session:
            self._release(session, claim)

    def due(self, older_than: float, limit: int) -> tuple[Job, ...]:
        """Jobs that wait for longer than some seconds, oldest first."""
        before = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, older_than)
        oldest = func.min(jobs.c.id)
        found = (
            select(jobs.c.kind, jobs.c.subject)
            .where(jobs.c.created <= before)
            .group_by(jobs.c.kind, jobs.c.subject)
            .order_by(oldest)
            .limit(limit)
        )
        with self.transaction() as session:
            return tuple(Job(JobKind(kind), subject) for kind, subject in session.execute(found))

    @staticmethod
    def _release(session: Session, claim: Claim) -> bool:
        released = delete(leases).where(leases.c.holder == claim.holder).returning(leases.c.holder)
        return session.execute(released).first() is not None


def _of(job: Job) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return jobs.c.kind == job.kind.value, jobs.c.subject == job.subject
