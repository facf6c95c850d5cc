"""The Celery tasks. All may run twice or at once: jobs are claimed in the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Celery
from sqlalchemy.exc import SQLAlchemyError

from wharfinger_client.errors import InvalidRequestError, NotAuthenticatedError, NotGrantedError, WharfingerError
from wharfinger_client.warehouse.delivery import Delivery, Outcome
from wharfinger_client.warehouse.outbox import Job, JobKind

DELIVER = "wharfinger.deliver"
RECONCILE = "wharfinger.reconcile"
COMPARE = "wharfinger.compare"

_RECONCILED_AT_ONCE = 1000
_COMPARED_AT_ONCE = 100

_RETRY = {
    "autoretry_for": (WharfingerError, OSError, SQLAlchemyError),
    # No repetition cures these; they are logged as failures, and the job waits for the periodic task.
    "dont_autoretry_for": (InvalidRequestError, NotAuthenticatedError, NotGrantedError),
    "retry_backoff": 2,
    "retry_backoff_max": 600,
    "retry_jitter": True,
    "max_retries": 10,
}
_LATE = {"acks_late": True, "reject_on_worker_lost": True, "ignore_result": True}


@dataclass(frozen=True)
class CeleryDispatch:
    """Tells the workers of a job. ``queue`` is empty for the application's routes."""

    app: Celery
    queue: str = ""

    def __call__(self, job: Job) -> None:
        """Queues a job, once: an upload must not wait for a broker that is away.

        Raises:
            Exception: whatever the broker's client raises.
        """
        options = {"queue": self.queue} if self.queue else {}
        self.app.send_task(DELIVER, args=(job.kind.value, job.subject), retry=False, ignore_result=True, **options)


def bound_waiting(app: Celery) -> None:
    """Has a producer give up at once when the broker is away; without it, kombu tries without end to connect.

    What the application chose itself in ``broker_transport_options`` is kept.
    """
    chosen = app.conf.broker_transport_options
    app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0, "interval_step": 0, **chosen}


def register_tasks(app: Celery, delivery: Callable[[], Delivery], *, due_after: float = 60.0, queue: str = "") -> None:
    """Gives an application its tasks; have ``wharfinger.reconcile`` run each minute, and ``wharfinger.compare`` daily.

    Args:
        delivery: makes or finds what does the jobs, in the worker process, after the fork.
        due_after: the seconds that a job has waited when ``wharfinger.reconcile`` queues it again.
        queue: where ``wharfinger.deliver`` goes; empty for the application's routes.
    """
    dispatch = CeleryDispatch(app, queue)

    @app.task(name=DELIVER, **_LATE, **_RETRY)  # type: ignore[untyped-decorator]  # Celery ships no types
    def deliver(kind: str, subject: str) -> None:
        job = Job(JobKind(kind), subject)
        if delivery().deliver(job) is Outcome.AGAIN:
            dispatch(job)

    @app.task(name=RECONCILE, **_LATE)  # type: ignore[untyped-decorator]
    def reconcile() -> None:
        for job in delivery().outbox.due(due_after, _RECONCILED_AT_ONCE):
            dispatch(job)

    @app.task(name=COMPARE, **_LATE, **_RETRY)  # type: ignore[untyped-decorator]
    def compare(after: str = "") -> None:
        last = delivery().compare(after, _COMPARED_AT_ONCE)
        if last:
            following: dict[str, Any] = {"args": (last,), "ignore_result": True}
            app.send_task(COMPARE, **following)
