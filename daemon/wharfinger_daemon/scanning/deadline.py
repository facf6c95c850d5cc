"""Ends a check that takes too long."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol, TypeVar

_T = TypeVar("_T")

# A check that swallows the exception meets it again.
_AGAIN_SECONDS = 0.5


class Overrun(BaseException):
    """The time is up. Not an Exception, so that a check's ``except Exception`` does not swallow it."""


class Deadline(Protocol):
    """Runs a function for a limited time."""

    def call(self, seconds: float, function: Callable[[], _T]) -> _T:
        """What the function returns.

        Raises:
            Overrun: it took longer.
        """
        ...


class AlarmDeadline:
    """Interrupts Python code by SIGALRM; main thread only.

    Native code is not interrupted before it returns: for that, a worker as a whole has a deadline of its parent.
    """

    def __init__(self) -> None:
        self._armed = False
        signal.signal(signal.SIGALRM, self._ring)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._armed:
            raise Overrun

    def call(self, seconds: float, function: Callable[[], _T]) -> _T:
        """As in ``Deadline``."""
        if seconds <= 0:
            raise Overrun
        try:
            try:
                self._armed = True
                signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
                return function()
            finally:
                self._disarm()
        except Overrun:
            # The alarm may have rung while it was being turned off; the next one is far away.
            self._disarm()
            raise

    def _disarm(self) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)


class WatchedDeadline:
    """Interrupts nothing, and notices an overrun afterwards; for threads other than the main one."""

    def call(self, seconds: float, function: Callable[[], _T]) -> _T:
        """As in ``Deadline``, but only after the function returned."""
        started = time.monotonic()
        result = function()
        if time.monotonic() - started > seconds:
            raise Overrun
        return result
