"""Caches are told of publications in the background: late perhaps, but always, and at nobody's cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wharfinger_daemon.caches.requests import not_purged
from wharfinger_daemon.metadata.invalidation import ABSENT_KEY, CacheInvalidation, PurgeSettings
from wharfinger_daemon.metadata.observer import Announcing, SilentObserver
from wharfinger_daemon.metadata.planning import Publication

NEWS = Publication(2, 2, {}, published=True)
EAGER = PurgeSettings(first_retry_seconds=0.001, longest_retry_seconds=0.002, closing_seconds=5)


class ScriptedCache:
    """Remembers what it was asked to purge. It fails as long as ``error`` is set, and waits while ``gate`` is shut."""

    name = "scripted"

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def purge(self, keys: Sequence[str]) -> None:
        self.asked.append(tuple(keys))
        await self.gate.wait()
        if self.error is not None:
            raise self.error


class Counted:
    """Counts as metrics do."""

    def __init__(self) -> None:
        self.done = self.failed = self.pending = 0

    def purged(self, cache: str) -> None:
        self.done += 1

    def purge_failed(self, cache: str) -> None:
        self.failed += 1

    def purges_pending(self, cache: str, publications: int) -> None:
        self.pending = publications


async def until_idle(counted: Counted) -> None:
    async with asyncio.timeout(10):
        while counted.pending:
            await asyncio.sleep(0.001)


async def test_a_publication_purges_the_timestamp_and_what_was_missing() -> None:
    cache, counted = ScriptedCache(), Counted()
    invalidation = CacheInvalidation(cache, EAGER, counted)
    await invalidation.start()
    await until_idle(counted)
    invalidation.published(NEWS)
    await until_idle(counted)
    await invalidation.close()
    assert [("timestamp", ABSENT_KEY)] * 2 == cache.asked  # One for what a former process did not tell.
    assert (2, 0) == (counted.done, counted.failed)


async def test_publications_that_come_while_a_purge_runs_share_the_next_one() -> None:
    cache, counted = ScriptedCache(), Counted()
    cache.gate.clear()
    invalidation = CacheInvalidation(cache, EAGER, counted)
    await invalidation.start()
    while not cache.asked:
        await asyncio.sleep(0)
    for _ in range(1000):
        invalidation.published(NEWS)
    assert 1001 == counted.pending
    cache.gate.set()
    await until_idle(counted)
    await invalidation.close()
    assert 2 == len(cache.asked)


async def test_what_fails_is_tried_again_until_it_works_and_said_meanwhile() -> None:
    cache, counted = ScriptedCache(), Counted()
    cache.error = not_purged("scripted answered 503")
    invalidation = CacheInvalidation(cache, EAGER, counted)
    await invalidation.start()
    async with asyncio.timeout(10):
        while counted.failed < 5:
            await asyncio.sleep(0.001)
    assert invalidation.problem is not None and "scripted answered 503" in invalidation.problem
    cache.error = None
    await until_idle(counted)
    assert None is invalidation.problem
    await invalidation.close()


async def test_an_error_that_nobody_foresaw_does_not_end_it_and_tells_no_detail() -> None:
    cache, counted = ScriptedCache(), Counted()
    cache.error = KeyError("a secret")
    invalidation = CacheInvalidation(cache, EAGER, counted)
    await invalidation.start()
    async with asyncio.timeout(10):
        while counted.failed < 2:
            await asyncio.sleep(0.001)
    assert invalidation.problem is not None and "a secret" not in invalidation.problem
    cache.error = None
    await until_idle(counted)
    await invalidation.close()


async def test_closing_waits_for_the_last_purge_but_not_for_ever() -> None:
    cache, counted = ScriptedCache(), Counted()
    invalidation = CacheInvalidation(cache, EAGER, counted)
    await invalidation.start()
    invalidation.published(NEWS)
    await invalidation.close()
    assert 0 == counted.pending
    deaf = ScriptedCache()
    deaf.gate.clear()
    hasty = CacheInvalidation(deaf, PurgeSettings(closing_seconds=0.01), Counted())
    await hasty.start()
    await hasty.close()
    assert 1 == len(deaf.asked)


async def test_a_purge_is_repeated_once_where_caches_fill_one_another() -> None:
    cache, counted = ScriptedCache(), Counted()
    invalidation = CacheInvalidation(cache, PurgeSettings(again_after_seconds=0.01), counted)
    await invalidation.start()
    async with asyncio.timeout(10):
        while len(cache.asked) < 2:
            await asyncio.sleep(0.001)
    # Long enough for a third and a fourth, if there were any.
    await asyncio.sleep(0.05)
    await invalidation.close()
    assert 2 == len(cache.asked)


async def test_closing_what_never_started_is_nothing() -> None:
    await CacheInvalidation(ScriptedCache(), EAGER, Counted()).close()


def test_every_listener_hears_of_a_publication_after_the_observer() -> None:
    heard: list[str] = []

    class Listening(SilentObserver):
        def __init__(self, name: str) -> None:
            self._name = name

        def published(self, publication: Publication) -> None:
            heard.append(self._name)

        def swept(self, files: int) -> None:
            heard.append(f"{self._name} {files}")

    announcing = Announcing(Listening("metrics"), [Listening("cache"), Listening("feed")])
    announcing.published(NEWS)
    announcing.swept(3)
    assert ["metrics", "cache", "feed", "metrics 3"] == heard
