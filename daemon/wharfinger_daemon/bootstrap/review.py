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
from wharfinger_daemon.bootstrap.metadata import lifetimes
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.config.review import OpenIdSettings
from wharfinger_daemon.http.review.app import ReviewParts, build_review_app
from wharfinger_daemon.http.review.one_time_links import OneTimeLinks
from wharfinger_daemon.http.review.openid import OpenIdSignIn, Registration
from wharfinger_daemon.http.review.origins import Origins
from wharfinger_daemon.http.review.oversight import Oversight
from wharfinger_daemon.http.review.people import Person, Role
from wharfinger_daemon.http.review.sessions import SessionLimits
from wharfinger_daemon.http.review.signing_in import CALLBACK, LINK, Ways
from wharfinger_daemon.metadata.condition import Condition, condition_at
from wharfinger_daemon.metadata.expiries import newest_root
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.import_log import JournalImportLog
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.publications import SqlPublications
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


class StoredCondition:
    """``MetadataCondition`` from records and store, as ``wharfinger metadata status`` tells it."""

    def __init__(self, settings: Settings, database: Database, journal: Journal, clock: Clock) -> None:
        assert settings.metadata is not None  # The configuration demands it of a process that publishes.
        self._lifetimes = lifetimes(settings.metadata)
        configured = settings.repository(settings.metadata.repository)
        self._store = open_store(configured)
        self._records = SqlPublications(database, configured.root_sha256, journal)
        self._clock = clock

    async def look(self) -> Condition:
        offline = await read_offline_roles(await including_staged(self._store))
        states = {state.role: state for state in offline.states} | dict(await self._records.states())
        root = await newest_root(self._store)
        if root is not None:
            states[root.role] = root
        return condition_at(self._clock.now(), states.values(), self._lifetimes, offline.bins)


def open_review(
    settings: Settings, database: Database, journal: Journal | None, oversight: Oversight, clock: Clock
) -> ReviewPages:
    """The review pages of a daemon.

    Args:
        journal: of a process that signs, which alone writes the audit log; others write their own log.
        oversight: what else this process can tell of.
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
            oversight,
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
