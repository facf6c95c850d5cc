"""When the publisher is to look again."""

from __future__ import annotations

import asyncio
import contextlib


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
