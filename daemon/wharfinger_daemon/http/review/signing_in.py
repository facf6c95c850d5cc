"""Signing in and out: the pages, the cookies, and the leaves of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from wharfinger_daemon.http.review.gate import SIGN_IN, Gate, Visit
from wharfinger_daemon.http.review.one_time_links import OneTimeLinks
from wharfinger_daemon.http.review.openid import OpenIdSignIn
from wharfinger_daemon.http.review.people import Person, Role
from wharfinger_daemon.http.review.rendering import Pages, see_other
from wharfinger_daemon.http.review.sessions import Sessions

CALLBACK = f"{SIGN_IN}/openid/callback"
LINK = f"{SIGN_IN}/link/"
HOME = "/review/"

_BINDING = "wharfinger-review-sign-in"
_BINDING_SECONDS = 600


class SignInLog(Protocol):
    """Where it is written down who came and went. What a method returned from is durable."""

    async def signed_in(self, person: Person) -> None:
        """Somebody signed in.

        Raises:
            UnavailableError: it could not be written down; they are not signed in then.
        """
        ...

    async def signed_out(self, person: Person) -> None:
        """Somebody signed out.

        Raises:
            UnavailableError: it could not be written down.
        """
        ...


@dataclass(frozen=True)
class Ways:
    """How people can sign in; with neither, nobody can."""

    openid: OpenIdSignIn | None = None
    links: OneTimeLinks | None = None


class SigningIn:
    """The routes beneath ``/review/sign-in``, and signing out.

    Args:
        secure: whether browsers come over TLS.
    """

    def __init__(
        self, ways: Ways, sessions: Sessions, gate: Gate, pages: Pages, log: SignInLog, *, secure: bool
    ) -> None:
        self._ways = ways
        self._sessions = sessions
        self._gate = gate
        self._pages = pages
        self._log = log
        self._secure = secure

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        path = SIGN_IN.removeprefix("/review")
        return [
            Route(path, self._show),
            Route(f"{path}/link", self._another_link, methods=["POST"]),
            Route(f"{path}/link/{{token}}", self._by_link),
            Route(f"{path}/openid", self._to_provider),
            Route(f"{path}/openid/callback", self._from_provider),
            Route("/sign-out", self._gate.acting(Role.VIEWER, self._sign_out), methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        if self._gate.session(request) is not None:
            return see_other(HOME)
        return self._pages.page("sign_in", None, ways=self._ways, told=request.query_params.get("told", ""))

    async def _another_link(self, request: Request) -> Response:
        if self._ways.links is None:
            raise HTTPException(404, "This daemon gives no links.")
        self._gate.require_own_page(request)
        shown = self._ways.links.show()
        return see_other(SIGN_IN, told="link" if shown else "wait")

    async def _by_link(self, request: Request) -> Response:
        links = self._ways.links
        if links is None or request.method != "GET" or not links.take(request.path_params["token"]):
            raise HTTPException(403, "This link is no good: it was used, or is too old. Ask for another one.")
        return await self._admit(Person("one-time-link", "whoever has the terminal", Role.SECURITY))

    async def _to_provider(self, request: Request) -> Response:
        begun = await self._openid().begin()
        response = RedirectResponse(begun.url, status_code=303)
        response.set_cookie(
            _BINDING,
            begun.binding,
            max_age=_BINDING_SECONDS,
            path=CALLBACK,
            secure=self._secure,
            httponly=True,
            samesite="lax",  # The provider sends the browser back from its own site.
        )
        return response

    async def _from_provider(self, request: Request) -> Response:
        person = await self._openid().finish(request.query_params, request.cookies.get(_BINDING, ""))
        response = await self._admit(person)
        response.delete_cookie(_BINDING, path=CALLBACK, secure=self._secure, httponly=True, samesite="lax")
        return response

    def _openid(self) -> OpenIdSignIn:
        if self._ways.openid is None:
            raise HTTPException(404, "This daemon has no OpenID provider. Set [review.openid] in its configuration.")
        return self._ways.openid

    async def _admit(self, person: Person) -> Response:
        await self._log.signed_in(person)
        _, cookie = self._sessions.begin(person)
        response = see_other(HOME)
        response.set_cookie(self._gate.cookie, cookie, path="/", secure=self._secure, httponly=True, samesite="lax")
        return response

    async def _sign_out(self, visit: Visit) -> Response:
        self._sessions.end(visit.session)
        await self._log.signed_out(visit.session.person)
        response = see_other(SIGN_IN, told="out")
        response.delete_cookie(self._gate.cookie, path="/", secure=self._secure, httponly=True, samesite="lax")
        return response
