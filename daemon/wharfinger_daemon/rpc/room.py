"""How many calls run at once, and whether new ones are still taken."""

from __future__ import annotations

import asyncio

from prometheus_client import Gauge

from wharfinger_daemon.errors import OverloadedError, Reason, UnavailableError


class Room:
    """Counts the calls that run."""

    def __init__(self, places: int, gauge: Gauge) -> None:
        self._places = places
        self._gauge = gauge
        self._running = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def places(self) -> int:
        """How many calls may run at once."""
        return self._places

    def enter(self) -> None:
        """Takes a place.

        Raises:
            UnavailableError: the daemon is shutting down.
            OverloadedError: all places are taken.
        """
        if self._draining:
            raise UnavailableError("The daemon is shutting down. Retry; another will answer.", reason=Reason.DRAINING)
        if self._running >= self._places:
            raise OverloadedError(
                f"{self._running} requests run already. Retry with back-off.",
                reason=Reason.TOO_MANY_CONCURRENT_REQUESTS,
            )
        self._running += 1
        self._idle.clear()
        self._gauge.set(self._running)

    def leave(self) -> None:
        """Gives the place back."""
        self._running -= 1
        self._gauge.set(self._running)
        if self._running == 0:
            self._idle.set()

    def drain(self) -> None:
        """From now on new calls are refused; running ones go on."""
        self._draining = True

    async def idle(self) -> None:
        """Waits until no call runs."""
        await self._idle.wait()
