"""Sessions of people who signed in.

A cookie names a session and is signed; what the session says stays in the daemon's memory, so that it can be ended at
once and nothing of it can be forged. A restart ends all sessions. Signing in always begins a session of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.http.review.people import Person

_MOST_SESSIONS = 1000


@dataclass(frozen=True)
class SessionLimits:
    """How long a session lasts: so long without a request, and so long in all."""

    idle: timedelta = timedelta(hours=1)
    whole: timedelta = timedelta(hours=8)


@dataclass(frozen=True)
class Session:
    """One person in one browser.

    Attributes:
        csrf: what every form of this session carries, and nobody else knows.
    """

    person: Person
    begun_at: datetime
    seen_at: datetime
    session_id: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def owns_form(self, token: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(self.csrf.encode(), token.encode())


class Sessions:
    """All sessions of this process. The key that signs cookies is made anew with each process."""

    def __init__(self, clock: Clock, limits: SessionLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._key = secrets.token_bytes(32)
        self._sessions: dict[str, Session] = {}

    def begin(self, person: Person) -> tuple[Session, str]:
        """A new session, and the value of its cookie."""
        self._drop_ended()
        now = self._clock.now()
        session = Session(person, now, now)
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda name: self._sessions[name].seen_at)]
        self._sessions[session.session_id] = session
        return session, f"{session.session_id}.{self._signature(session.session_id)}"

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None for a cookie that we did not make, and for a session that ended."""
        session_id, _, signature = (cookie or "").partition(".")
        if not hmac.compare_digest(self._signature(session_id).encode(), signature.encode()):
            return None
        session = self._sessions.get(session_id)
        if session is None or self._ended(session):
            self._sessions.pop(session_id, None)
            return None
        self._sessions[session_id] = replace(session, seen_at=self._clock.now())
        return self._sessions[session_id]

    def end(self, session: Session) -> None:
        """Ends it: its cookie is worth nothing any more."""
        self._sessions.pop(session.session_id, None)

    def _ended(self, session: Session) -> bool:
        now = self._clock.now()
        return now - session.seen_at >= self._limits.idle or now - session.begun_at >= self._limits.whole

    def _drop_ended(self) -> None:
        for session in [one for one in self._sessions.values() if self._ended(one)]:
            self.end(session)

    def _signature(self, session_id: str) -> str:
        return hmac.new(self._key, session_id.encode(), hashlib.sha256).hexdigest()
