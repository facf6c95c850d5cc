"""Reviews: what people decide about verdicts, and the queue of those that wait for a person.

Rules of the whole module:
  (1) A verdict is never changed by a review, and no review is ever removed: one that was undone says so, and by whom.
  (2) The newest review that was not undone stands. Undoing it lets the one before stand again, if there is one.
  (3) A verdict waits for a person when it is not benign and no review of it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.scanning.model import Classification, Confidence, Scan, Subject

MOST_AT_ONCE = 200
MOST_REASON_CHARACTERS = 2000


class Decision(StrEnum):
    """What a person says of a verdict's subject."""

    THREAT = "threat"
    BENIGN = "benign"
    NOT_SURE = "not-sure"


class QueueState(StrEnum):
    """Which verdicts a list has: those that wait, those with a review of that decision, or any."""

    WAITING = "waiting"
    THREAT = "threat"
    BENIGN = "benign"
    NOT_SURE = "not-sure"
    ANY = "any"


@dataclass(frozen=True)
class Review:
    """One person's decision on one verdict.

    Attributes:
        reviewer: as the audit log names the person.
        undone_at: None as long as it is not undone.
    """

    review_id: int
    scan_id: str
    decision: Decision
    reason: str
    reviewer: str
    decided_at: datetime
    undone_by: str = ""
    undone_at: datetime | None = None


@dataclass(frozen=True)
class QueueFilter:
    """Which verdicts to list. None, or an empty text, does not filter.

    Attributes:
        search: the beginning of a project's name, or a whole SHA-256 in hexadecimal.
        check: the name of a check that found something.
        finished_after: not before that instant.
        finished_before: before that instant.
    """

    search: str = ""
    check: str = ""
    classification: Classification | None = None
    confidence: Confidence | None = None
    state: QueueState = QueueState.WAITING
    finished_after: datetime | None = None
    finished_before: datetime | None = None


@dataclass(frozen=True)
class QueuedVerdict:
    """A verdict in a list, without its findings."""

    scan_id: str
    subject: Subject
    classification: Classification
    confidence: Confidence
    score: float
    finished_at: datetime
    decision: Decision | None


@dataclass(frozen=True)
class QueuedProject:
    """The verdicts of one project that a filter lets through.

    Attributes:
        number: how many there are.
        score: the highest.
        newest_at: when the last of them was finished.
        verdicts: the first few, the highest score first.
    """

    project: str
    number: int
    score: float
    newest_at: datetime
    verdicts: tuple[QueuedVerdict, ...]


@dataclass(frozen=True)
class QueuePosition:
    """A place in the queue, which runs from the highest score of a project to the lowest, then by name."""

    score: float
    project: str


@dataclass(frozen=True)
class CheckRecord:
    """What became of the alarms of one check.

    Attributes:
        alarms: verdicts that are not benign and to which the check added weight.
        by_day: how many there were on each day, by its number from the first of the period.
        right: projects whose alarms of this check people called threats.
        wrong: projects whose alarms of this check people called benign.
    """

    check: str
    alarms: int
    by_day: tuple[int, ...]
    right: int
    wrong: int


class ReviewRecords(Protocol):
    """The durable memory of reviews. What a method returned is on the disk.

    Raises:
        UnavailableError: from every method, when the memory does not answer.
    """

    async def queue(
        self, queue_filter: QueueFilter, limit: int, after: QueuePosition | None = None
    ) -> Sequence[QueuedProject]:
        """At most ``limit`` projects behind ``after``: the highest score first, then by name."""
        ...

    async def scan(self, scan_id: str) -> Scan:
        """A scan with its findings.

        Raises:
            NotFoundError: SCAN_NOT_FOUND.
        """
        ...

    async def reviews(self, scan_id: str) -> Sequence[Review]:
        """All reviews of a verdict, the newest first."""
        ...

    async def history(self, project: str, limit: int) -> Sequence[QueuedVerdict]:
        """The newest verdicts of a project, whatever they are."""
        ...

    async def next_waiting(self, besides: str) -> QueuedVerdict | None:
        """The verdict with the highest score that waits, another one than that scan's; None if none does."""
        ...

    async def add(
        self, scan_ids: Sequence[str], decision: Decision, reason: str, reviewer: str, at: datetime
    ) -> Sequence[Review]:
        """Adds a review to each of these verdicts, all or none.

        Raises:
            NotFoundError: SCAN_NOT_FOUND; one of them does not exist, or has no verdict.
        """
        ...

    async def undo(self, scan_id: str, reviewer: str, at: datetime) -> Review | None:
        """Undoes the review that stands; None if none does."""
        ...

    async def check_records(self, since: datetime, days: int) -> Sequence[CheckRecord]:
        """What became of the alarms of each check in so many days, by name.

        Args:
            since: the beginning of the first day (UTC).
        """
        ...


class Moderation:
    """Takes decisions."""

    def __init__(self, records: ReviewRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def decide(
        self, scan_ids: Sequence[str], decision: Decision, reason: str, *, reviewer: str
    ) -> Sequence[Review]:
        """Decides about verdicts, all or none. Each review is in the audit log.

        Raises:
            InvalidRequestError: MALFORMED_REQUEST; none or too many verdicts, or a reason that is too long.
            NotFoundError: SCAN_NOT_FOUND.
            UnavailableError: the records do not answer.
        """
        chosen = list(dict.fromkeys(scan_ids))
        if not 1 <= len(chosen) <= MOST_AT_ONCE:
            raise _malformed(f"Choose between 1 and {MOST_AT_ONCE} verdicts; these are {len(chosen)}.")
        if len(reason) > MOST_REASON_CHARACTERS or "\0" in reason:
            raise _malformed(f"A reason has at most {MOST_REASON_CHARACTERS} characters, and no NUL.")
        return await self._records.add(chosen, decision, reason.strip(), reviewer, self._clock.now())

    async def undo(self, scan_id: str, *, reviewer: str) -> Review | None:
        """Undoes the review that stands, whoever made it; None if none does. It is in the audit log.

        Raises:
            NotFoundError: SCAN_NOT_FOUND.
            UnavailableError: the records do not answer.
        """
        await self._records.scan(scan_id)
        return await self._records.undo(scan_id, reviewer, self._clock.now())


def _malformed(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason=Reason.MALFORMED_REQUEST)
