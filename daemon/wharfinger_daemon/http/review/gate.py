"""Who may see a page or do a thing. Every route passes here, and says which role it needs.

Rules of the whole module:
  (1) The host is one of ours; any other gets 421 and nothing else.
  (2) Whoever has no session is sent to the sign-in page; their form is not looked at.
  (3) Whoever lacks the role gets 403.
  (4) What changes something is a POST from a page of ours with the session's own token, or gets 403.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wharfinger_daemon.errors import (
    AlreadyExistsError,
    InvalidRequestError,
    NotFoundError,
    NotGrantedError,
    OverloadedError,
    RefusedError,
    UnauthenticatedError,
    WharfingerError,
)
from wharfinger_daemon.http.review.forms import read_form
from wharfinger_daemon.http.review.origins import Origins
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.http.review.rendering import HEADERS, Pages, see_other
from wharfinger_daemon.http.review.sessions import Session, Sessions

SIGN_IN = "/review/sign-in"

_STATUSES: tuple[tuple[type[WharfingerError], int], ...] = (
    (InvalidRequestError, 400),
    (UnauthenticatedError, 401),
    (NotGrantedError, 403),
    (NotFoundError, 404),
    (RefusedError, 409),
    (AlreadyExistsError, 409),
    (OverloadedError, 429),
)


@dataclass(frozen=True)
class Visit:
    """A request of somebody who may make it. ``form`` is empty unless something was posted."""

    request: Request
    session: Session
    form: dict[str, list[str]]

    def field(self, name: str) -> str:
        """The first value of a field; empty if the form has none."""
        return self.form.get(name, [""])[0]


Page = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")


class Gate:
    """Makes endpoints of pages."""

    def __init__(self, sessions: Sessions, origins: Origins, pages: Pages) -> None:
        self._sessions = sessions
        self._origins = origins
        self._pages = pages

    @property
    def cookie(self) -> str:
        """The name of the session's cookie. With TLS, its prefix keeps other hosts and plain HTTP from setting it."""
        return "__Host-wharfinger-review" if self._origins.secure else "wharfinger-review"

    def session(self, request: Request) -> Session | None:
        """The session that a request belongs to."""
        return self._sessions.find(request.cookies.get(self.cookie))

    def showing(self, role: Role, page: Page) -> Endpoint:
        """An endpoint that shows something to a role and those above it."""

        async def endpoint(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                return see_other(SIGN_IN)
            _require_role(session, role)
            return await page(Visit(request, session, {}))

        return endpoint

    def acting(self, role: Role, page: Page) -> Endpoint:
        """An endpoint that takes a form of a role and those above it."""

        async def endpoint(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                return see_other(SIGN_IN)
            self.require_own_page(request)
            form = await read_form(request)
            if not session.owns_form(form.get("csrf", [""])[0]):
                raise HTTPException(403, "This form is not of your session. Go back, reload the page, and try again.")
            _require_role(session, role)
            return await page(Visit(request, session, form))

        return endpoint

    def require_own_page(self, request: Request) -> None:
        """Refuses what another site sends.

        Raises:
            HTTPException: 403.
        """
        if not self._origins.sent(request):
            raise HTTPException(403, "This was sent by a page that is not ours.")

    async def refuse(self, request: Request, error: Exception) -> Response:
        """The page that says why something was not done."""
        status, told = 500, "Something unforeseen happened. It is in the daemon's log."
        if isinstance(error, HTTPException):
            status, told = error.status_code, error.detail
        elif isinstance(error, WharfingerError):
            status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 503)
            told = error.message
        return self._pages.page("refused", self.session(request), status=status, told=told, number=status)


class Fence:
    """Answers other hosts with 421, and puts the headers on all that leaves (ASGI)."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(one for one in added if one[0] not in present)]
            await send(message)

        if scope["type"] == "http" and not self._origins.has_host(Request(scope).headers.get("host", "")):
            refusal = PlainTextResponse("This is not the host that you think it is.\n", status_code=421)
            await refusal(scope, receive, sending)
            return
        await self._app(scope, receive, sending)


def _require_role(session: Session, role: Role) -> None:
    if not session.person.role.includes(role):
        raise HTTPException(403, f"This needs the role {role.value}, and yours is {session.person.role.value}.")
