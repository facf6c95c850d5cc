"""The time that a request has."""

from __future__ import annotations

import time
from collections.abc import Callable

from wharfinger_daemon.errors import DeadlineError, Reason


def time_remaining(timeout_seconds: float, least_seconds: float) -> Callable[[], float]:
    """A function that gives the seconds that remain, and raises DeadlineError once there are fewer than the least."""
    end = time.monotonic() + timeout_seconds

    def remaining() -> float:
        seconds = end - time.monotonic()
        if seconds < least_seconds:
            raise DeadlineError(
                "Not enough time was left to sign. Send the same batch again, with a later deadline or in parts.",
                reason=Reason.DEADLINE_TOO_SHORT,
            )
        return seconds

    return remaining
