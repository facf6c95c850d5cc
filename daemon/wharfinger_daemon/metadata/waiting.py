"""Changes that wait for the publisher. Those that wait together share one publication (group commit)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wharfinger_daemon.errors import InvalidRequestError, OverloadedError, Reason
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.targets import Target, require_target_path


@dataclass(frozen=True)
class PublicationResult:
    """Where a change is visible.

    Attributes:
        bin_versions: the new versions, by role, of bins that list or listed the change's paths; empty if nothing had to
            change.
    """

    timestamp_version: int
    snapshot_version: int
    bin_versions: Mapping[str, int]


class TargetPublisher(Protocol):
    """Brings changes of targets before clients: the publisher, or whoever hands them on to it."""

    async def publish(
        self, add: Sequence[Target], remove: Sequence[str], *, timeout_seconds: float
    ) -> PublicationResult:
        """Adds, replaces and removes targets; returns when clients can see the change. Repeats safely."""
        ...


@dataclass(frozen=True, eq=False)
class WaitingChange:
    """A change whose caller waits."""

    change: Change
    done: asyncio.Future[PublicationResult]

    def succeed(self, result: PublicationResult) -> None:
        """Answers the caller. One that stopped waiting left the answer to nobody."""
        self.done.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Answers the caller, if it has no answer yet."""
        if not self.done.done():
            self.done.set_exception(error)


class WaitingChanges:
    """The queue, first come, first served.

    Args:
        most: how many changes may wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[WaitingChange] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, change: Change) -> WaitingChange:
        """Puts a change at the end.

        Raises:
            OverloadedError: PUBLICATION_QUEUE_FULL.
        """
        if len(self._waiting) >= self._most:
            raise OverloadedError(
                f"{self._most} changes wait to be published already. Try again later.",
                reason=Reason.PUBLICATION_QUEUE_FULL,
            )
        waiting = WaitingChange(change, asyncio.get_running_loop().create_future())
        # A caller that stopped waiting leaves an answer that nobody reads, which is no error.
        waiting.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.append(waiting)
        return waiting

    def take_all(self) -> list[WaitingChange]:
        """Takes everything out."""
        taken, self._waiting = self._waiting, []
        return taken

    def withdraw(self, waiting: WaitingChange) -> bool:
        """Takes one change out; False if it was taken before."""
        if waiting not in self._waiting:
            return False
        self._waiting.remove(waiting)
        return True

    def fail_all(self, error: Callable[[], BaseException]) -> None:
        """Answers everybody with an error of their own."""
        for waiting in self.take_all():
            waiting.fail(error())


def request(add: Sequence[Target], remove: Sequence[str]) -> Change:
    """One caller's change.

    Raises:
        InvalidRequestError: a path is named twice with different intent, or cannot be a path.
    """
    added: dict[str, Target] = {}
    for target in add:
        if added.setdefault(target.path, target) != target:
            raise _ambiguous(target.path, "added twice, with different content")
    for path in remove:
        require_target_path(path)
        if path in added:
            raise _ambiguous(path, "both added and removed")
    return Change(added, frozenset(remove))


def merged(changes: Iterable[Change]) -> Change:
    """What several changes come to, one after the other: the later one decides."""
    add: dict[str, Target] = {}
    remove: set[str] = set()
    for change in changes:
        for path in change.remove:
            add.pop(path, None)
        add.update(change.add)
        remove |= change.remove
        remove.difference_update(change.add)
    return Change(add, frozenset(remove))


def _ambiguous(path: str, how: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Target '{path}' is {how} in one request. Say what it is to be.", reason=Reason.TARGET_INVALID, path=path
    )
