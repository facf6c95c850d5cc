"""When the publisher is to look again."""

from __future__ import annotations

import asyncio
import contextlib

from wharfinger_daemon.errors import StartupError
from wharfinger_daemon.metadata.ports import MetadataStore

_LOCKED_AGAIN_SECONDS = 0.5


class Timer:
    """Says how long it is until something is due. It goes by the event loop's time, which does not jump."""

    def __init__(self) -> None:
        self._at = 0.0

    def set(self, seconds: float) -> None:
        """Makes it due after so many seconds."""
        self._at = asyncio.get_running_loop().time() + seconds

    @property
    def seconds_left(self) -> float:
        """Until it is due; 0 if it is. One that was never set is due."""
        return max(0.0, self._at - asyncio.get_running_loop().time())


async def until(event: asyncio.Event, seconds: float) -> None:
    """Waits for an event, but not longer than so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def lock_within(store: MetadataStore, seconds: float) -> None:
    """Locks a store; tries for so long while another publisher holds it.

    Raises:
        StartupError: PUBLISHER_RUNNING; it still does.
        UnavailableError: the store does not answer.
    """
    patience = Timer()
    patience.set(seconds)
    while True:
        try:
            return await store.lock()
        except StartupError:
            if not patience.seconds_left:
                raise
        await asyncio.sleep(_LOCKED_AGAIN_SECONDS)
