"""The review pages without a network: an ASGI client that keeps cookies, and people of every role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

import httpx2
from starlette.applications import Starlette

from wharfinger_daemon.audit.leaf import Leaf
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.http.review.app import ReviewApp, ReviewParts, build_review_app
from wharfinger_daemon.http.review.one_time_links import OneTimeLinks
from wharfinger_daemon.http.review.openid import OpenIdSignIn
from wharfinger_daemon.http.review.origins import Origins
from wharfinger_daemon.http.review.people import Person, Role
from wharfinger_daemon.http.review.sessions import SessionLimits
from wharfinger_daemon.http.review.signing_in import LINK, Ways
from wharfinger_daemon.storage import migrate
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.reviews import SqlReviewRecords
from wharfinger_daemon.storage.scans import SqlScanRecords

ADDRESS = "127.0.0.1:8081"
ORIGIN = f"http://{ADDRESS}"


@dataclass
class NotedSignIns:
    """``SignInLog`` in memory."""

    acts: list[tuple[str, str]] = field(default_factory=list)

    async def signed_in(self, person: Person) -> None:
        self.acts.append(("in", person.name))

    async def signed_out(self, person: Person) -> None:
        self.acts.append(("out", person.name))


@dataclass
class Site:
    """The pages, and a browser of sorts.

    Attributes:
        shown: the one-time links that were shown.
        acts: what goes into the audit log of a process that signs.
    """

    app: ReviewApp
    clock: FixedClock
    log: NotedSignIns
    links: OneTimeLinks
    shown: list[str]
    browser: httpx2.AsyncClient
    scans: SqlScanRecords
    reviews: SqlReviewRecords
    acts: list[Leaf]
    openid: OpenIdSignIn | None = None

    def sign_in(self, role: Role) -> str:
        """Signs the browser in; returns the form token of its session."""
        session, cookie = self.app.sessions.begin(Person(f"test#{role}", f"A {role}", role))
        self.browser.cookies.set("wharfinger-review", cookie)
        return session.csrf


@asynccontextmanager
async def review_site(external_url: str = "", openid: OpenIdSignIn | None = None) -> AsyncIterator[Site]:
    """The pages, with a clock that stands still."""
    clock, log = FixedClock(datetime(2030, 1, 1, tzinfo=UTC)), NotedSignIns()
    shown: list[str] = []
    acts: list[Leaf] = []
    links = OneTimeLinks(f"{ORIGIN}{LINK}", clock, shown.append)
    limits = SessionLimits(idle=timedelta(hours=1), whole=timedelta(hours=8))
    origins = Origins.of(ADDRESS, external_url)
    with TemporaryDirectory() as folder, closing(Database(f"sqlite:///{folder}/rows.db")) as database:
        migrate.upgrade(database)
        records = SqlReviewRecords(database, None, acts.append)
        inspector = "https://inspector.example.com/{project}/{version}"
        app = build_review_app(
            ReviewParts(Ways(openid, links), log, records, origins, clock, limits, inspector_url=inspector)
        )
        transport = httpx2.ASGITransport(Starlette(routes=list(app.routes)), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as browser:
            yield Site(app, clock, log, links, shown, browser, SqlScanRecords(database), records, acts, openid)
