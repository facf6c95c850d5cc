"""Pages from templates, and what every answer carries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.http.review.sessions import Session

HEADERS: Mapping[str, str] = {
    # Nothing inline, nothing from elsewhere: what an uploader smuggles into a page stays text.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_SECTIONS = (
    ("queue", "Queue", Role.VIEWER),
    ("checks", "Checks", Role.VIEWER),
    ("keys", "Keys", Role.SECURITY),
    ("metadata", "Metadata", Role.SECURITY),
    ("audit", "Audit log", Role.SECURITY),
)


class Pages:
    """Renders pages. All text is escaped unless it was made as markup by this package."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._environment = Environment(
            loader=PackageLoader("wharfinger_daemon.http.review"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(ago=self._ago, until=self._until, instant=instant, query=urlencode)

    def page(self, template: str, session: Session | None, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page.

        Args:
            session: of who sees it; None before sign-in.
            values: what the template names.
        """
        role = None if session is None else session.person.role
        sections = [(path, name) for path, name, needed in _SECTIONS if role is not None and role.includes(needed)]
        text = self._environment.get_template(f"{template}.html").render(
            session=session, sections=sections, current=values.pop("current", ""), **values
        )
        return HTMLResponse(text, status_code=status)

    def _ago(self, at: datetime) -> str:
        return f"{duration(self._clock.now() - at)} ago"

    def _until(self, at: datetime) -> str:
        left = at - self._clock.now()
        return f"in {duration(left)}" if left > timedelta() else f"{duration(-left)} ago"


def see_other(path: str, **query: str) -> Response:
    """Sends a browser to another page of ours after a form, so that a reload does not send the form again."""
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, status_code=303)


def instant(at: datetime) -> str:
    """An instant for people, in UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def duration(length: timedelta) -> str:
    """A length of time for people, in its largest unit."""
    seconds = int(length.total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            number = seconds // size
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "a moment"
