"""A real Chromium, and the review pages on a real socket."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.review_screenshots import ARGUMENTS, CHROMIUM
from tests.support.review_server import ReviewServer, running_review_server, write_verdicts
from wharfinger_daemon.http.review.people import Role

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")  # While Playwright runs, this thread has an event loop, and asynchronous tests fail.
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("verdicts") / "rows.db"
    write_verdicts(file)
    return file


@pytest.fixture
def server(verdicts: Path, tmp_path: Path) -> Iterator[ReviewServer]:
    with running_review_server(Path(shutil.copy(verdicts, tmp_path / "rows.db"))) as running:
        yield running


@pytest.fixture
def open_page(browser: Browser, server: ReviewServer) -> Iterator[OpenPage]:
    """Opens a path as somebody with a role; fails the test if the page's policy was broken or its script threw."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def opened(role: Role | None, path: str = "", **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        contexts.append(context)
        if role is not None:
            context.add_cookies([server.cookie(role)])  # type: ignore[list-item]
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if "Security Policy" in message.text else None)
        page.on("request", lambda asked: None if asked.url.startswith(server.url) else wrong.append(asked.url))
        page.goto(f"{server.url}{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [] == wrong
