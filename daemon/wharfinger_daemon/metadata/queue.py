"""Changes that were given to a daemon that does not publish: the one that does takes them from the queue.

A change in the queue survives whoever put it there and whoever publishes. It is published at least once, which is the
same as once: a target that is so already changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import (
    CorruptStateError,
    DeadlineError,
    InvalidRequestError,
    Reason,
    RefusedError,
    WharfingerError,
)
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.metadata.waiting import PublicationResult, TargetPublisher, request

log = structlog.get_logger()

# What the change itself causes: it would be so again. After any other error the change stays in the queue.
_FINAL = (RefusedError, InvalidRequestError)
_REFUSALS = {kind.__name__: kind for kind in _FINAL}

KEPT = timedelta(hours=1)
_LOOK_SECONDS = 0.1
_AT_ONCE = 256
_PUBLISH_SECONDS = 120.0
_TRIED_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Refusal:
    """Why a change will never be published."""

    kind: str
    message: str
    reason: Reason
    details: dict[str, str]

    @classmethod
    def of(cls, error: WharfingerError) -> Refusal:
        return cls(type(error).__name__, error.message, error.reason, dict(error.details))

    def error(self) -> WharfingerError:
        """The same error again, for the caller."""
        return _REFUSALS[self.kind](self.message, reason=self.reason, **self.details)


Outcome = PublicationResult | Refusal


@dataclass(frozen=True)
class QueuedChange:
    """A change in the queue.

    Attributes:
        number: the order in which changes came.
    """

    number: int
    change: Change


class ChangeQueue(Protocol):
    """The queue of one repository, which all daemons see.

    Raises:
        UnavailableError: from every method, when it cannot be reached.
    """

    async def put(self, change: Change) -> int:
        """Puts a change at the end; returns its number. It is durable when this returns."""
        ...

    async def outcome(self, number: int) -> Outcome | None:
        """What came of a change; None as long as it waits.

        Raises:
            CorruptStateError: PUBLICATION_FAILED; it is not in the queue.
        """
        ...

    async def withdraw(self, number: int) -> None:
        """Takes a change out, if nothing came of it yet."""
        ...

    async def waiting(self, most: int) -> Sequence[QueuedChange]:
        """The first ones that wait, in order."""
        ...

    async def settle(self, outcomes: Mapping[int, Outcome], at: datetime) -> None:
        """Says what came of changes, and forgets those of which it was said an hour ago: whoever asked for them lost
        its connection long since."""
        ...


class QueuedPublishing:
    """``metadata.waiting.TargetPublisher`` of a daemon that does not publish."""

    def __init__(self, queue: ChangeQueue) -> None:
        self._queue = queue

    async def publish(
        self, add: Sequence[Target], remove: Sequence[str], *, timeout_seconds: float
    ) -> PublicationResult:
        """Puts a change into the queue; returns when the daemon that publishes says that clients can see it.

        Raises:
            InvalidRequestError: a path is named with two intents, or is none.
            RefusedError: it will not be published.
            UnavailableError: the queue cannot be reached. If the change is in it, it may become visible later.
            DeadlineError: the time was over. The change may become visible later.
        """
        number = await self._queue.put(request(add, remove))
        try:
            async with asyncio.timeout(timeout_seconds):
                outcome = await self._settled(number)
        except (TimeoutError, asyncio.CancelledError) as error:
            await asyncio.shield(self._queue.withdraw(number))
            if isinstance(error, asyncio.CancelledError):
                raise
            raise DeadlineError(
                "The time was over before the daemon that publishes took the change from the queue and published it. "
                "It may still become visible; send it again with a later deadline.",
                reason=Reason.DEADLINE_TOO_SHORT,
            ) from error
        if isinstance(outcome, Refusal):
            raise outcome.error()
        return outcome

    async def _settled(self, number: int) -> Outcome:
        while (outcome := await self._queue.outcome(number)) is None:  # noqa: ASYNC110  # Another process says it.
            await asyncio.sleep(_LOOK_SECONDS)
        return outcome


class QueueDrain:
    """Publishes what others put into the queue. Run it where the publisher runs."""

    def __init__(self, queue: ChangeQueue, publisher: TargetPublisher, clock: Clock) -> None:
        self._queue = queue
        self._publisher = publisher
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                busy = await self.drain_some()
            except WharfingerError as error:
                log.warning("changes stay in the queue", reason=error.reason, message=error.message)
                await asyncio.sleep(_TRIED_AGAIN_SECONDS)
                continue
            if not busy:
                await asyncio.sleep(_LOOK_SECONDS)

    async def drain_some(self) -> bool:
        """Publishes the first ones that wait; False if none do.

        They are published in order: none of them counts as published before all of them are, so that a change that
        fails is never repeated after a later one for the same path.

        Raises:
            WharfingerError: they cannot be published now; all of them stay.
        """
        waiting = await self._queue.waiting(_AT_ONCE)
        if not waiting:
            return False
        answers = await asyncio.gather(*(self._publish(one.change) for one in waiting), return_exceptions=True)
        outcomes: dict[int, Outcome] = {}
        for one, answer in zip(waiting, answers, strict=True):
            if isinstance(answer, _FINAL):
                outcomes[one.number] = Refusal.of(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                outcomes[one.number] = answer
        await self._queue.settle(outcomes, self._clock.now())
        return True

    async def _publish(self, change: Change) -> PublicationResult:
        return await self._publisher.publish(
            list(change.add.values()), sorted(change.remove), timeout_seconds=_PUBLISH_SECONDS
        )


def lost(number: int) -> CorruptStateError:
    """The error of an outcome that nobody knows."""
    return CorruptStateError(
        f"Change {number} is not in the queue any more, so it is not known whether it was published. Send it again.",
        reason=Reason.PUBLICATION_FAILED,
    )
