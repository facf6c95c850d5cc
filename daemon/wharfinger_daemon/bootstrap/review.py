"""Opens the review pages."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from starlette.routing import BaseRoute

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.config.review import OpenIdSettings
from wharfinger_daemon.http.review.app import ReviewParts, build_review_app
from wharfinger_daemon.http.review.one_time_links import OneTimeLinks
from wharfinger_daemon.http.review.openid import OpenIdSignIn, Registration
from wharfinger_daemon.http.review.origins import Origins
from wharfinger_daemon.http.review.people import Person, Role
from wharfinger_daemon.http.review.sessions import SessionLimits
from wharfinger_daemon.http.review.signing_in import CALLBACK, LINK, Ways
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.import_log import JournalImportLog
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.reviews import SqlReviewRecords

log = structlog.get_logger()

WriteLeaf = Callable[[Leaf], Awaitable[None]]


class LeafSignInLog:
    """``SignInLog`` by leaves."""

    def __init__(self, write: WriteLeaf, clock: Clock) -> None:
        self._write = write
        self._clock = clock

    async def signed_in(self, person: Person) -> None:
        details = {"name": person.shown, "role": person.role.value}
        await self._write(Leaf(Act.REVIEWER_SIGNED_IN, self._clock.now(), person.name, details))

    async def signed_out(self, person: Person) -> None:
        await self._write(Leaf(Act.REVIEWER_SIGNED_OUT, self._clock.now(), person.name))


@dataclass(frozen=True)
class ReviewPages:
    """What the rest of the daemon uses of the pages.

    Attributes:
        links: None unless the configuration wants one-time links.
    """

    routes: tuple[BaseRoute, ...]
    links: OneTimeLinks | None


def open_review(settings: Settings, database: Database, journal: Journal | None, clock: Clock) -> ReviewPages:
    """The review pages of a daemon.

    Args:
        journal: of a process that signs, which alone writes the audit log; others write their own log.
    """
    review = settings.review
    origins = Origins.of(settings.administration.http_address, review.external_url)
    openid = None if review.openid is None else OpenIdSignIn(_registration(review.openid, origins), clock)
    links = OneTimeLinks(f"{origins.external}{LINK}", clock, _print_link) if review.one_time_link else None
    write: WriteLeaf = _into_own_log if journal is None else JournalImportLog(journal).log
    limits = SessionLimits(timedelta(minutes=review.idle_minutes), timedelta(hours=review.session_hours))
    app = build_review_app(
        ReviewParts(
            Ways(openid, links),
            LeafSignInLog(write, clock),
            SqlReviewRecords(database, journal, _tell),
            origins,
            clock,
            limits,
            review.inspector_url,
        )
    )
    return ReviewPages(app.routes, links)


def _registration(openid: OpenIdSettings, origins: Origins) -> Registration:
    return Registration(
        openid.issuer,
        openid.client_id,
        openid.client_secret_file,
        f"{origins.external}{CALLBACK}",
        openid.scopes,
        openid.role_claim,
        {role: frozenset(getattr(openid.roles, role.value)) for role in Role},
    )


async def _into_own_log(leaf: Leaf) -> None:
    _tell(leaf)


def _tell(leaf: Leaf) -> None:
    log.info(leaf.act.value, caller=leaf.caller, **leaf.details)


def _print_link(link: str) -> None:
    # On the terminal alone, and not in the log, which more people read.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"Sign in to the review pages with this link, which works once: {link}\n")
        sys.stdout.flush()
