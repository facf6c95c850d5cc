"""Session events: collect what changed while it is flushed, tell the workers after the commit and never before.

The jobs are written in the same transaction, on every flush; telling the workers only makes them come sooner. What is
told may be too much, when a savepoint was rolled back, and is never too little: a worker that finds no job has nothing
to do.
Deleting by a bulk query or by a cascade of the database causes no event; call ``enqueue`` beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from wharfinger_client.warehouse.models import Models
from wharfinger_client.warehouse.outbox import Job, JobKind, add

_TOLD_AFTER_COMMIT = "wharfinger.jobs"

log = logging.getLogger(__name__)


def enqueue(session: Session, job: Job) -> None:
    """Adds a job to the transaction of a session, for changes that no flush shows."""
    add(session.connection(), {job})
    _collected(session).add(job)


def listen(session_class: Any, models: Models, dispatch: Callable[[Job], None]) -> Callable[[], None]:
    """Listens to all sessions of a class or sessionmaker; returns what ends it.

    ``dispatch`` is called after each commit. If it raises, as when the broker is away, that is logged and the commit
    stands: the periodic task finds the job.
    """

    hooks = _Hooks(models, dispatch)
    heard = (
        ("after_flush", hooks.after_flush),
        ("after_commit", hooks.after_commit),
        ("after_soft_rollback", hooks.after_soft_rollback),
    )
    for name, listener in heard:
        event.listen(session_class, name, listener)

    def stop() -> None:
        for name, listener in heard:
            event.remove(session_class, name, listener)

    return stop


@dataclass(frozen=True)
class _Hooks:
    models: Models
    dispatch: Callable[[Job], None]

    def after_flush(self, session: Session, context: Any) -> None:
        wanted = _jobs(session, self.models)
        add(session.connection(), wanted)
        _collected(session).update(wanted)

    def after_commit(self, session: Session) -> None:
        # SQLAlchemy says this of savepoints, too.
        if session.in_nested_transaction():
            return
        waiting = sorted(session.info.pop(_TOLD_AFTER_COMMIT, ()))
        try:
            for job in waiting:
                self.dispatch(job)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the upload has succeeded
            # The others are not tried: each would make the upload wait for the same broker.
            log.warning("wharfinger jobs are not queued and wait for the periodic task: %s: %r", waiting, error)

    def after_soft_rollback(self, session: Session, previous: SessionTransaction) -> None:
        if previous.parent is None:
            session.info.pop(_TOLD_AFTER_COMMIT, None)


def _jobs(session: Session, models: Models) -> set[Job]:
    changed = [each for each in session.dirty if session.is_modified(each)]
    wanted = set()
    for instance in (*session.new, *changed, *session.deleted):
        project = models.project_of(instance)
        if project is not None:
            wanted.add(Job(JobKind.PUBLISH, project))
    for instance in session.new:
        file_id = models.upload_of(instance)
        if file_id is not None:
            wanted.add(Job(JobKind.SCAN, file_id))
    return wanted


def _collected(session: Session) -> set[Job]:
    collected: set[Job] = session.info.setdefault(_TOLD_AFTER_COMMIT, set())
    return collected
