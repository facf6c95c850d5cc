"""Links that sign somebody in once, for a development daemon on loopback.

Whoever sees the daemon's terminal may use one; it works once, and another can be had there.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from wharfinger_daemon.clock import Clock

_LIFE = timedelta(hours=1)
_PAUSE = timedelta(seconds=5)


class OneTimeLinks:
    """At most one link is good at a time.

    Args:
        base: the URL that the token is appended to.
        tell: is given each link; shows it where only those see it who may sign in.
    """

    def __init__(self, base: str, clock: Clock, tell: Callable[[str], None]) -> None:
        self._base = base
        self._clock = clock
        self._tell = tell
        self._digest: bytes | None = None
        self._made_at: datetime | None = None

    def show(self) -> bool:
        """Makes a link and tells it; the one before is void. False if the last one was told a moment ago."""
        now = self._clock.now()
        if self._made_at is not None and now - self._made_at < _PAUSE:
            return False
        token = secrets.token_urlsafe(32)
        self._digest, self._made_at = hashlib.sha256(token.encode()).digest(), now
        self._tell(f"{self._base}{token}")
        return True

    def take(self, token: str) -> bool:
        """Whether this is the token of the link that is good. It is not afterwards."""
        if self._digest is None or self._made_at is None or self._clock.now() - self._made_at >= _LIFE:
            return False
        if not hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self._digest):
            return False
        self._digest = None
        return True
