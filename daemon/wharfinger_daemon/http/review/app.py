"""The application beneath ``/review``: every route with the role that it needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.http.review.gate import Fence, Gate
from wharfinger_daemon.http.review.origins import Origins
from wharfinger_daemon.http.review.oversight import Oversight, OversightPages
from wharfinger_daemon.http.review.queue import QueuePages
from wharfinger_daemon.http.review.rendering import Pages, see_other
from wharfinger_daemon.http.review.sessions import SessionLimits, Sessions
from wharfinger_daemon.http.review.signing_in import HOME, SigningIn, SignInLog, Ways
from wharfinger_daemon.http.review.verdict import VerdictPages
from wharfinger_daemon.scanning.moderation import Moderation, ReviewRecords


@dataclass(frozen=True)
class ReviewParts:
    """What the pages are made of; bootstrap chooses it."""

    ways: Ways
    log: SignInLog
    records: ReviewRecords
    origins: Origins
    clock: Clock
    limits: SessionLimits
    oversight: Oversight = field(default_factory=Oversight)
    inspector_url: str = ""


@dataclass(frozen=True)
class ReviewApp:
    """The pages: routes for the administrative application, and their sessions."""

    routes: tuple[BaseRoute, ...]
    sessions: Sessions


def build_review_app(parts: ReviewParts) -> ReviewApp:
    """The pages beneath ``/review``."""
    pages = Pages(parts.clock)
    sessions = Sessions(parts.clock, parts.limits)
    gate = Gate(sessions, parts.origins, pages)
    signing_in = SigningIn(parts.ways, sessions, gate, pages, parts.log, secure=parts.origins.secure)

    moderation = Moderation(parts.records, parts.clock)
    queue = QueuePages(parts.records, moderation, gate, pages, parts.clock)
    verdicts = VerdictPages(parts.records, moderation, gate, pages, parts.inspector_url)
    oversight = OversightPages(parts.oversight, parts.records, gate, pages, parts.clock)
    app = Starlette(
        routes=[
            *queue.routes(),
            *verdicts.routes(),
            *oversight.routes(),
            *signing_in.routes(),
            Mount("/static", StaticFiles(packages=[("wharfinger_daemon.http.review", "static")])),
        ],
        exception_handlers={HTTPException: gate.refuse, WharfingerError: gate.refuse, Exception: gate.refuse},
    )
    app.router.redirect_slashes = False

    async def to_home(request: object) -> Response:
        return see_other(HOME)

    return ReviewApp((Route("/review", to_home), Mount("/review", Fence(app, parts.origins))), sessions)
