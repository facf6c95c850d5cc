"""The queue of changes that daemons which do not publish took."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.errors import CorruptStateError, DeadlineError, Reason, RefusedError, UnavailableError
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.queue import QueuedPublishing, QueueDrain, Refusal
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.metadata.waiting import PublicationResult
from wharfinger_daemon.storage import schema
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.queued_changes import SqlChangeQueue

REPOSITORY = "1" * 64
NOW = datetime(2030, 1, 1, tzinfo=UTC)
RESULT = PublicationResult(7, 5, {"bins-1": 3})


def target(path: str, length: int = 1) -> Target:
    return Target(path, length, {"sha256": "0" * 64})


def adds(*targets: Target) -> Change:
    return Change({one.path: one for one in targets})


@pytest.fixture
def queue(database: Database) -> SqlChangeQueue:
    return SqlChangeQueue(database, REPOSITORY)


class Publishes:
    """Remembers what it is asked to publish, and fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.published: list[tuple[list[str], list[str]]] = []
        self._failures = list(failures)

    async def publish(
        self, add: Sequence[Target], remove: Sequence[str], *, timeout_seconds: float
    ) -> PublicationResult:
        if self._failures:
            raise self._failures.pop(0)
        self.published.append(([one.path for one in add], list(remove)))
        return RESULT


async def test_changes_wait_in_the_order_in_which_they_came(queue: SqlChangeQueue) -> None:
    changes = [adds(target("a")), Change(remove=frozenset({"a", "b"})), adds(target("a", 2), target("c"))]
    numbers = [await queue.put(change) for change in changes]
    assert list(zip(numbers, changes, strict=True)) == [(one.number, one.change) for one in await queue.waiting(9)]
    assert numbers[:2] == [one.number for one in await queue.waiting(2)]


async def test_another_repository_has_a_queue_of_its_own(queue: SqlChangeQueue, database: Database) -> None:
    await queue.put(adds(target("a")))
    assert [] == await SqlChangeQueue(database, "2" * 64).waiting(9)


async def test_what_came_of_a_change_is_told_once_it_is_known(queue: SqlChangeQueue) -> None:
    refusal = Refusal.of(RefusedError("No room.", reason=Reason.BIN_FULL, role="bins-1"))
    first, second = await queue.put(adds(target("a"))), await queue.put(adds(target("b")))
    assert await queue.outcome(first) is None
    await queue.settle({first: RESULT, second: refusal}, NOW)
    assert [RESULT, refusal] == [await queue.outcome(first), await queue.outcome(second)]
    assert [] == await queue.waiting(9)


async def test_outcomes_are_kept_for_an_hour(queue: SqlChangeQueue, database: Database) -> None:
    old = await queue.put(adds(target("a")))
    await queue.settle({old: RESULT}, NOW)
    await queue.settle({await queue.put(adds(target("b"))): RESULT}, NOW + timedelta(hours=1))
    assert RESULT == await queue.outcome(old)
    newest = await queue.put(adds(target("c")))
    await queue.settle({newest: RESULT}, NOW + timedelta(hours=3))
    with pytest.raises(CorruptStateError):
        await queue.outcome(old)
    assert 1 == database.run_blocking(
        lambda connection: connection.execute(select(func.count()).select_from(schema.queued_changes)).scalar_one()
    )


async def test_what_is_withdrawn_waits_no_more_and_what_is_settled_stays(queue: SqlChangeQueue) -> None:
    waits, settled = await queue.put(adds(target("a"))), await queue.put(adds(target("b")))
    await queue.settle({settled: RESULT}, NOW)
    for number in (waits, settled):
        await queue.withdraw(number)
    assert [] == await queue.waiting(9)
    assert RESULT == await queue.outcome(settled)


async def test_caller_gets_the_answer_of_whoever_publishes(queue: SqlChangeQueue) -> None:
    publisher = Publishes()
    asked = asyncio.create_task(QueuedPublishing(queue).publish([target("a")], ["b"], timeout_seconds=30))
    drain = asyncio.create_task(QueueDrain(queue, publisher, SystemClock()).run())
    assert RESULT == await asked
    assert [(["a"], ["b"])] == publisher.published
    drain.cancel()
    with suppress(asyncio.CancelledError):
        await drain


async def test_caller_is_told_why_its_change_is_refused_and_others_are_published(queue: SqlChangeQueue) -> None:
    publisher = Publishes(RefusedError("No room.", reason=Reason.BIN_FULL, role="bins-1"))
    asked = [
        asyncio.create_task(QueuedPublishing(queue).publish([target(path)], [], timeout_seconds=30)) for path in "ab"
    ]
    while len(await queue.waiting(9)) < 2:
        await asyncio.sleep(0.01)
    assert await QueueDrain(queue, publisher, SystemClock()).drain_some()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [RESULT] == [answer for answer in answers if isinstance(answer, PublicationResult)]
    [refused] = [answer for answer in answers if isinstance(answer, RefusedError)]
    assert (Reason.BIN_FULL, {"role": "bins-1"}) == (refused.reason, refused.details)


async def test_change_stays_while_nothing_can_be_published(queue: SqlChangeQueue) -> None:
    await queue.put(adds(target("a")))
    await queue.put(adds(target("a", 2)))
    publisher = Publishes(UnavailableError("The token is away.", reason=Reason.PUBLICATION_FAILED))
    drain = QueueDrain(queue, publisher, SystemClock())
    with pytest.raises(UnavailableError):
        await drain.drain_some()
    # The second one went through, and is repeated with the first one: after it, as they came.
    assert 2 == len(await queue.waiting(9))
    assert await drain.drain_some()
    assert [(["a"], [])] * 3 == publisher.published
    assert not await drain.drain_some()


async def test_whoever_waits_too_long_is_told_and_its_change_waits_no_more(queue: SqlChangeQueue) -> None:
    with pytest.raises(DeadlineError, match="may still become visible"):
        await QueuedPublishing(queue).publish([target("a")], [], timeout_seconds=0.05)
    assert [] == await queue.waiting(9)


async def test_whoever_gives_up_leaves_nothing_that_waits(queue: SqlChangeQueue) -> None:
    asked = asyncio.create_task(QueuedPublishing(queue).publish([target("a")], [], timeout_seconds=30))
    while not await queue.waiting(9):
        await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert [] == await queue.waiting(9)
