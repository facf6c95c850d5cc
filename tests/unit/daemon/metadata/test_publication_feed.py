"""Every subscriber hears of every publication, in order, from wherever it stands; slow ones cost nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta

import pytest

from wharfinger_daemon.errors import InvalidRequestError, OverloadedError, Reason, UnavailableError
from wharfinger_daemon.metadata.feed import PublicationFeed, ShownPublication
from wharfinger_daemon.metadata.planning import Publication

START = datetime(2030, 1, 1, tzinfo=UTC)


class RecordsInMemory:
    """Publications in a list, and how often they were read."""

    def __init__(self, *versions: int) -> None:
        self.shown: list[ShownPublication] = []
        self.reads = 0
        for version in versions:
            self.add(version)

    def add(self, version: int) -> Publication:
        bins = {"bins-0": version}
        self.shown.append(ShownPublication(version, version, bins, START + timedelta(seconds=version)))
        return Publication(version, version, bins, published=True)

    async def last_shown(self) -> int:
        return self.shown[-1].timestamp_version if self.shown else 0

    async def shown_after(self, timestamp_version: int, most: int) -> Sequence[ShownPublication]:
        self.reads += 1
        await asyncio.sleep(0)
        return [one for one in self.shown if one.timestamp_version > timestamp_version][:most]


async def some(feed: PublicationFeed, number: int, after: int | None = None) -> list[int]:
    """The timestamp versions of the next ones."""
    seen: list[int] = []
    async with asyncio.timeout(10), aclosing(feed.subscribe(after)) as publications:
        async for publication in publications:
            seen.append(publication.timestamp_version)
            if len(seen) == number:
                break
    return seen


async def test_without_a_position_the_newest_comes_first() -> None:
    assert [9] == await some(PublicationFeed(RecordsInMemory(1, 5, 9)), 1)


@pytest.mark.parametrize(("after", "seen"), [(0, [1, 5, 9]), (1, [5, 9]), (4, [5, 9]), (5, [9])])
async def test_from_a_position_everything_after_it_comes_in_order(after: int, seen: list[int]) -> None:
    assert seen == await some(PublicationFeed(RecordsInMemory(1, 5, 9)), len(seen), after)


@pytest.mark.parametrize("after", [-1, 10, 2**62])
async def test_a_position_that_never_was_is_refused(after: int) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await some(PublicationFeed(RecordsInMemory(1, 5, 9)), 1, after)
    assert Reason.MALFORMED_REQUEST == refused.value.reason


async def test_before_the_first_publication_a_subscriber_waits_for_it() -> None:
    records = RecordsInMemory()
    feed = PublicationFeed(records)
    waiting = asyncio.create_task(some(feed, 1))
    await asyncio.sleep(0.01)
    feed.published(records.add(1))
    assert [1] == await waiting


async def test_many_subscribers_at_their_own_pace_miss_nothing_while_publications_go_on() -> None:
    records = RecordsInMemory(1)
    feed = PublicationFeed(records)
    number = 500

    async def follow(nap_every: int) -> list[int]:
        seen: list[int] = []
        async with aclosing(feed.subscribe(0)) as publications:
            async for publication in publications:
                seen.append(publication.timestamp_version)
                if len(seen) % nap_every == 0:
                    await asyncio.sleep(0.001)
                if len(seen) == number:
                    return seen
        raise AssertionError("the feed ended")

    followers = [asyncio.create_task(follow(nap)) for nap in (1, 7, 1000)]
    for version in range(2, number + 1):
        feed.published(records.add(version))
        if version % 3 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert [list(range(1, number + 1))] * 3 == await asyncio.gather(*followers)


async def test_subscribers_who_keep_up_share_what_is_read() -> None:
    records = RecordsInMemory(1)
    feed = PublicationFeed(records)
    await some(feed, 1)
    for version in range(2, 200):  # Nobody listens, and what is at hand grows old.
        feed.published(records.add(version))
    followers = [asyncio.create_task(some(feed, 21)) for _ in range(20)]
    await asyncio.sleep(0.01)
    before = records.reads
    for version in range(200, 220):
        feed.published(records.add(version))
        await asyncio.sleep(0.001)
    assert [list(range(199, 220))] * 20 == await asyncio.gather(*followers)
    assert records.reads - before <= 20 + 1


async def test_what_is_at_hand_and_old_hides_nothing_from_those_who_come() -> None:
    records = RecordsInMemory(1)
    feed = PublicationFeed(records)
    await some(feed, 1)
    for version in range(2, 6):
        feed.published(records.add(version))
    up_to_date = asyncio.create_task(some(feed, 1, after=5))
    await asyncio.sleep(0.01)
    assert [5] == await some(feed, 1)
    assert [2, 3, 4, 5] == await some(feed, 4, after=1)
    feed.published(records.add(6))
    assert [6] == await up_to_date


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_comes_and_goes_and_from_wherever_nobody_misses_anything(seed: int) -> None:
    chance = random.Random(seed)
    records = RecordsInMemory(1)
    feed = PublicationFeed(records, most_subscribers=1000)
    following: list[tuple[int, int, asyncio.Task[list[int]]]] = []
    version = 1
    for _ in range(300):
        match chance.randrange(5):
            case 0 | 1:
                version += chance.choice((1, 1, 1, 3))
                feed.published(records.add(version))
            case 2:
                after = records.shown[chance.randrange(len(records.shown))].timestamp_version
                number = chance.randrange(1, 40)
                following.append((after, number, asyncio.create_task(some(feed, number, after))))
            case _:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
    for _ in range(40):
        version += 1
        feed.published(records.add(version))
    for after, number, task in following:
        expected = [one.timestamp_version for one in records.shown if one.timestamp_version > after][:number]
        assert expected == await task


async def test_no_more_subscribers_than_the_bound_and_places_are_given_back() -> None:
    feed = PublicationFeed(RecordsInMemory(1), most_subscribers=2)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            subscription = await stack.enter_async_context(aclosing(feed.subscribe()))
            await anext(subscription)
        with pytest.raises(OverloadedError):
            await some(feed, 1)
    assert [1] == await some(feed, 1)


async def test_closing_tells_those_who_wait_and_those_who_come() -> None:
    feed = PublicationFeed(RecordsInMemory(1))
    waiting = asyncio.create_task(some(feed, 2))
    await asyncio.sleep(0.01)
    feed.close()
    for late in (waiting, some(feed, 2)):
        with pytest.raises(UnavailableError) as refused:
            await late
        assert Reason.DRAINING == refused.value.reason
