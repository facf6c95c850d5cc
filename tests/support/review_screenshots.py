"""Takes the pictures of the review pages for the documentation: python -m tests.support.review_screenshots FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from tests.support.review_server import ReviewServer, running_review_server, write_verdicts
from wharfinger_daemon.http.review.people import Role

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu"]


def _take(browser: Browser, server: ReviewServer, folder: Path) -> None:
    for scheme, sections in (("light", {"queue": ""}), ("dark", {"checks": "checks", "metadata": "metadata"})):
        context = browser.new_context(
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": 1000, "height": 640},
        )
        context.add_cookies([server.cookie(Role.SECURITY)])  # type: ignore[list-item]
        page = context.new_page()
        for name, path in sections.items():
            page.goto(f"{server.url}{path}")
            page.screenshot(path=folder / f"review-{name}.png")
        if scheme == "light":
            page.get_by_role("link", name="left-padding-1.4.tar.gz").click()
            page.wait_for_url("**/verdicts/*")
            page.screenshot(path=folder / "review-verdict.png", full_page=True)
        context.close()


def main(folder: Path) -> None:
    """Takes them all."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place:
        file = Path(place) / "rows.db"
        write_verdicts(file)
        _take_all(file, folder)


def _take_all(file: Path, folder: Path) -> None:
    with running_review_server(file) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        _take(browser, server, folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
