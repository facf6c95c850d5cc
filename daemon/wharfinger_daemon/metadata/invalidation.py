"""Tells caches that there is something new, after clients can see it at the origin.

Rules of the whole module:
  (1) A cache that does not answer delays no publication and fails none.
  (2) However many publications come meanwhile, one purge waits: each says the same, so that nothing grows.
  (3) What fails is tried again, at growing intervals, until it works or the daemon ends. Caches that were never told
      drop ``timestamp.json`` by themselves, when its ``max-age`` is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.metadata.planning import TIMESTAMP, Publication

log = structlog.get_logger()

ABSENT_KEY = "metadata-absent"
"""The surrogate key of answers that say that there is no such file."""

# Versioned files never change. The one file that does, and what may have been missing until now.
_PURGED = (TIMESTAMP, ABSENT_KEY)


class CachePurger(Protocol):
    """One cache."""

    @property
    def name(self) -> str:
        """How messages and metrics call it."""
        ...

    async def purge(self, keys: Sequence[str]) -> None:
        """Has the cache drop everything that carries one of these surrogate keys. Repeats safely.

        Raises:
            UnavailableError: CACHE_NOT_PURGED; says what the cache answered.
        """
        ...


class PurgeObserver(Protocol):
    """Told of what happened, for metrics. It must not raise."""

    def purged(self, cache: str) -> None:
        """The cache confirmed a purge."""
        ...

    def purge_failed(self, cache: str) -> None:
        """The cache was asked in vain; it will be asked again."""
        ...

    def purges_pending(self, cache: str, publications: int) -> None:
        """The cache has not confirmed so many publications."""
        ...


@dataclass(frozen=True)
class PurgeSettings:
    """When to purge again, in seconds.

    Attributes:
        first_retry_seconds: after the first failure; doubled with each, up to ``longest_retry_seconds``.
        again_after_seconds: how long after a purge to repeat it, for caches that fetch from other caches: one that was
            purged may have filled itself from one that was not yet. 0 for never.
        closing_seconds: how long ``close`` waits for the last purge.
    """

    first_retry_seconds: float = 0.5
    longest_retry_seconds: float = 60.0
    again_after_seconds: float = 0.0
    closing_seconds: float = 2.0


class CacheInvalidation:
    """Keeps one cache told. Call ``start`` first and ``close`` last.

    It tells the cache at the start too, of what a former process may not have been able to tell.
    """

    def __init__(self, purger: CachePurger, settings: PurgeSettings, observer: PurgeObserver) -> None:
        self._purger = purger
        self._settings = settings
        self._observer = observer
        self._pending = 0
        self._news = asyncio.Event()
        self._told = asyncio.Event()
        self._again = False
        self._problem: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """Why the cache is not told at the moment; None while all is well."""
        return self._problem

    async def start(self) -> None:
        """Begins to tell the cache, in the background."""
        self._tell()
        self._task = asyncio.create_task(self._run(), name=f"purges of {self._purger.name}")

    def published(self, publication: Publication) -> None:
        """Clients can see a publication at the origin: the cache is told soon. Returns at once."""
        self._tell()

    async def close(self) -> None:
        """Waits a moment for the last purge, and stops."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.closing_seconds):
                await self._told.wait()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def _tell(self) -> None:
        self._count(self._pending + 1)
        self._told.clear()
        self._news.set()

    async def _run(self) -> None:
        delay = self._settings.first_retry_seconds
        while True:
            await self._something_to_tell()
            self._news.clear()
            if await self._purge():
                delay = self._settings.first_retry_seconds
            else:
                self._news.set()
                await asyncio.sleep(delay)
                delay = min(2 * delay, self._settings.longest_retry_seconds)

    async def _something_to_tell(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.again_after_seconds if self._again else None):
                await self._news.wait()

    async def _purge(self) -> bool:
        telling = self._pending
        try:
            await self._purger.purge(_PURGED)
        except Exception as error:  # noqa: BLE001  # The task must outlive what nobody foresaw, and try again.
            self._fail(error)
            return False
        # After one for news comes one more, if that is wanted; after that one, none.
        self._again = telling > 0 and self._settings.again_after_seconds > 0
        self._count(self._pending - telling)
        if self._pending == 0:
            self._told.set()
        if self._problem is not None:
            self._problem = None
            log.info("a cache can be purged again", cache=self._purger.name)
        self._observer.purged(self._purger.name)
        return True

    def _fail(self, error: Exception) -> None:
        foreseen = isinstance(error, WharfingerError)
        message = str(error) if foreseen else f"{self._purger.name} cannot be purged; the log has more."
        if message != self._problem:
            log.warning(
                "a cache was not purged and will be asked again",
                cache=self._purger.name,
                error=message,
                exc_info=None if foreseen else error,
            )
        self._problem = message
        self._observer.purge_failed(self._purger.name)

    def _count(self, publications: int) -> None:
        self._pending = publications
        self._observer.purges_pending(self._purger.name, publications)
