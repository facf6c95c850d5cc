"""Which files nobody uses any more, and their removal.

Rules of the whole module:
  (1) What clients could see at the instant ``now - grace``, or at any moment since, stays: whoever fetched a snapshot
      then finds the bins that it names (PEP 458, "Producing consistent snapshots": old snapshots may go after an hour,
      by mark and sweep).
  (2) So a file goes if its version is lower than the one that its role had at that instant. Which that was, the
      records say, and never the time of a file: a copy or a restored backup has other times.
  (3) What the published timestamp leads to stays, whatever the records say.
  (4) Roots and the offline roles stay for ever: they are few, the chain of roots starts clients of any age, and
      auditors want the others. So does a file of which the records know nothing, such as one of a role that this
      repository has not.
  (5) What is prepared, or staged to be imported, has higher versions than what is published, and stays by rule (2). Of
      a publication that was given other versions, what was written already goes when the next higher version has been
      in use for the time of grace.
  (6) The records of publications go by the same rule: what is kept of them still tells the versions of that instant,
      and of every later one.

Nothing depends on an order or on completeness: a sweep that is interrupted anywhere is done again by the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.metadata.observer import PublicationObserver
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.metadata.published import published_versions

log = structlog.get_logger()

StoredFile = tuple[str, int]


class PublicationHistory(Protocol):
    """What the records know of former publications of one repository.

    Raises:
        UnavailableError: from every method, when the records cannot be read or written.
    """

    async def shown_at(self, instant: datetime) -> Mapping[str, int]:
        """The version of the snapshot and of each hash bin that clients could see at an instant; empty before the first
        publication. An instant that is not before the oldest one that ``forget`` was called with gets the right answer.
        """
        ...

    async def forget(self, instant: datetime, most: int) -> int:
        """Forgets rows that are needed to tell neither the versions at this instant nor at any later one, and returns
        how many: if that is ``most``, there may be more."""
        ...


@dataclass(frozen=True)
class RetentionSettings:
    """How long files are kept, and how they are removed.

    Attributes:
        grace: how long a file stays after it went out of use.
        interval_seconds: how often to look for what has gone out of use.
        files_at_once: how many files to remove in one step.
        rows_at_once: how many rows to forget in one step.
    """

    grace: timedelta = timedelta(minutes=70)
    interval_seconds: float = 300
    files_at_once: int = 256
    rows_at_once: int = 2048


@dataclass(frozen=True)
class Survey:
    """The versioned files of a store: those to keep, by number, and those that none uses any more."""

    kept: int
    sweepable: Sequence[StoredFile]


def survey(listed: Iterable[StoredFile], published: Mapping[str, int], shown: Mapping[str, int]) -> Survey:
    """Parts the files of a store.

    Args:
        listed: role and version of each file.
        published: the version of each role that the published timestamp leads to.
        shown: from ``PublicationHistory.shown_at``, of the instant ``now - grace``.
    """
    kept, sweepable = 0, []
    for role, version in listed:
        if version < min(shown.get(role, 0), published.get(role, 0)):
            sweepable.append((role, version))
        else:
            kept += 1
    return Survey(kept, sorted(sweepable))


@dataclass(frozen=True)
class Retention:
    """Looks through one repository, and removes what is not kept. Only the publisher removes, between publications."""

    store: MetadataStore
    history: PublicationHistory
    clock: Clock
    settings: RetentionSettings
    observer: PublicationObserver

    async def look(self) -> Survey:
        """What is to be kept and what not. Changes nothing.

        Raises:
            CorruptStateError: the published timestamp or snapshot is damaged or missing.
            UnavailableError: the store or the records do not answer.
        """
        # Listed before the rest: what is published meanwhile is not among it.
        listed = await self.store.listed()
        return survey(listed, await published_versions(self.store), await self.history.shown_at(self._instant()))

    async def remove(self, files: Sequence[StoredFile]) -> None:
        """Removes files that ``look`` found, which nothing can bring back into use. Repeats safely.

        Raises:
            UnavailableError: the store does not answer.
        """
        await self.store.remove(files)
        self.observer.swept(len(files))

    async def forget(self) -> bool:
        """Forgets rows of publications, some; returns whether there may be more.

        Raises:
            UnavailableError: the records do not answer.
        """
        most = self.settings.rows_at_once
        return await self.history.forget(self._instant(), most) == most

    def _instant(self) -> datetime:
        return self.clock.now() - self.settings.grace


class Sweeper:
    """Sweeps in steps, so that publications need not wait for more than one of them."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._found: list[StoredFile] = []
        self._sweeping = False

    async def step(self) -> float:
        """Does one step of a sweep: looks, or removes some files, or forgets some rows.

        A failure is logged and tried again at the next interval; publishing goes on without it.

        Returns:
            After how many seconds the next step is due.
        """
        settings = self._retention.settings
        try:
            more = await self._step(settings.files_at_once)
        except Exception as error:  # noqa: BLE001  # Whatever it is, what is published is not touched by it.
            log.error("what nobody uses any more could not be removed; it will be tried again", error=str(error))
            self._sweeping = False
            return settings.interval_seconds
        return 0 if more else settings.interval_seconds

    async def _step(self, most: int) -> bool:
        if not self._sweeping:
            found = await self._retention.look()
            self._found, self._sweeping = list(found.sweepable), True
        removed, self._found = self._found[:most], self._found[most:]
        if removed:
            await self._retention.remove(removed)
        self._sweeping = await self._retention.forget() or bool(self._found)
        return self._sweeping
