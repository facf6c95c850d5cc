"""Offline metadata that waits for the publisher to take it in, between two publications."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.metadata.intake import Intake
from wharfinger_daemon.metadata.planning import Publication
from wharfinger_daemon.metadata.repository import Repository

Decide = Callable[[Repository], Awaitable[Intake | None]]
"""Decides on what somebody brought: the intake, or None if there is nothing to take in. It may finish what is prepared,
and changes nothing else."""


@dataclass(frozen=True, eq=False)
class WaitingIntake:
    """An intake whose caller waits."""

    decide: Decide
    done: asyncio.Future[Publication | None]

    def succeed(self, publication: Publication | None) -> None:
        """Answers the caller. One that stopped waiting left the answer to nobody."""
        self.done.set_result(publication)

    def fail(self, error: BaseException) -> None:
        """Answers the caller."""
        self.done.set_exception(error)


class WaitingIntakes:
    """The queue, first come, first served."""

    def __init__(self) -> None:
        self._waiting: list[WaitingIntake] = []

    def put(self, decide: Decide) -> WaitingIntake:
        """Puts one at the end."""
        waiting = WaitingIntake(decide, asyncio.get_running_loop().create_future())
        # A caller that stopped waiting leaves an answer that nobody reads, which is no error.
        waiting.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.append(waiting)
        return waiting

    def take(self) -> WaitingIntake | None:
        """Takes the first out."""
        return self._waiting.pop(0) if self._waiting else None

    def withdraw(self, waiting: WaitingIntake) -> None:
        """Takes one out, unless it was taken before."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def fail_all(self, error: Callable[[], WharfingerError]) -> None:
        """Answers everybody with an error of their own."""
        while (waiting := self.take()) is not None:
            waiting.fail(error())
