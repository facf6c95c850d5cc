"""Tells subscribers of publications, each one in order, from wherever they stand.

Nobody's news waits in memory: a subscriber is a position in the records, and reads on from there as fast as it can take
it. So one that is slow loses nothing and costs nothing, and one that was away resumes where it was. The newest
publications are kept at hand, so that subscribers who keep up do not read the records each for itself.

The records forget publications after the time that retention gives them, as far as newer ones replaced all that they
changed. Whoever resumes from before that is not told of those; what it is told still leads to the present versions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from wharfinger_daemon.errors import InvalidRequestError, OverloadedError, Reason
from wharfinger_daemon.metadata.failures import draining
from wharfinger_daemon.metadata.planning import Publication

_AT_HAND = 64
_READ_AT_ONCE = 16


@dataclass(frozen=True)
class ShownPublication:
    """A publication that clients can see, or could.

    Attributes:
        bins: the versions of the bins that it changed, by role.
    """

    timestamp_version: int
    snapshot_version: int
    bins: Mapping[str, int]
    published_at: datetime


class ShownPublications(Protocol):
    """What the records know of publications that clients could see.

    Raises:
        UnavailableError: from every method, when the records cannot be read.
    """

    async def last_shown(self) -> int:
        """The version of the newest timestamp; 0 before the first publication."""
        ...

    async def shown_after(self, timestamp_version: int, most: int) -> Sequence[ShownPublication]:
        """Those with a higher version of the timestamp, the lowest first."""
        ...


class PublicationFeed:
    """Publications of one repository, for any number of subscribers up to a bound.

    Args:
        most_subscribers: more are refused.
    """

    def __init__(self, records: ShownPublications, most_subscribers: int = 64) -> None:
        self._records = records
        self._most_subscribers = most_subscribers
        self._subscribers = 0
        self._closed = False
        self._news = asyncio.Event()
        self._at_hand: tuple[ShownPublication, ...] = ()
        # Until there is news after this, the records have nothing that is not at hand.
        self._complete_as_of: asyncio.Event | None = None
        self._reading = asyncio.Lock()

    def published(self, publication: Publication) -> None:
        """Clients can see a publication. Returns at once."""
        self.wake()

    def wake(self) -> None:
        """The records may have news. Returns at once."""
        # Each event happens once, so that nobody can miss the one that it saw before it looked.
        news, self._news = self._news, asyncio.Event()
        news.set()

    def close(self) -> None:
        """Tells all subscribers that the end has come."""
        self._closed = True
        self.wake()

    async def subscribe(self, after: int | None = None) -> AsyncGenerator[ShownPublication, None]:
        """Publications without end. Close it when it is not wanted any more.

        Args:
            after: the timestamp version that the subscriber knows, 0 for one that knows nothing. Without it the newest
                publication comes first.

        Raises:
            InvalidRequestError: MALFORMED_REQUEST; there is no such version yet.
            OverloadedError: TOO_MANY_CONCURRENT_REQUESTS; there are too many subscribers.
            UnavailableError: DRAINING; or the records cannot be read.
        """
        with self._place():
            position = await self._beginning(after)
            while True:
                news = self._news
                known = await self._beyond(position)
                for publication in known:
                    yield publication
                    position = publication.timestamp_version
                if self._closed:
                    raise draining()
                if not known:
                    await news.wait()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._subscribers >= self._most_subscribers:
            raise OverloadedError(
                f"{self._subscribers} callers watch publications already. Try again later, or read the timestamp.",
                reason=Reason.TOO_MANY_CONCURRENT_REQUESTS,
            )
        self._subscribers += 1
        try:
            yield
        finally:
            self._subscribers -= 1

    async def _beginning(self, after: int | None) -> int:
        newest = await self._records.last_shown()
        if after is None:
            return max(newest - 1, 0)
        if not 0 <= after <= newest:
            raise InvalidRequestError(
                f"Timestamp version {after} is not published; the newest is {newest}. Give one that was, or none.",
                reason=Reason.MALFORMED_REQUEST,
            )
        return after

    async def _beyond(self, position: int) -> Sequence[ShownPublication]:
        """The next ones, from what is at hand if that reaches back so far; empty if there are none."""
        async with self._reading:  # What comes from the records for one is at hand for the next.
            at_hand = self._at_hand
            if at_hand and at_hand[0].timestamp_version <= position + 1:
                known = [one for one in at_hand if one.timestamp_version > position]
                if known or self._complete_as_of is self._news:
                    return known
            news = self._news
            read = tuple(await self._records.shown_after(position, _READ_AT_ONCE))
            newest = at_hand[-1].timestamp_version if at_hand else 0
            if position >= newest:
                # Without a gap they go on from what is at hand; with one they take its place.
                self._at_hand = (*(at_hand if position == newest else ()), *read)[-_AT_HAND:]
                if len(read) < _READ_AT_ONCE:
                    self._complete_as_of = news
            return read
