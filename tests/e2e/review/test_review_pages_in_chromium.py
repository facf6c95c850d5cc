"""The review pages in a real Chromium: every page and decision for each role, by keyboard, without JavaScript, and with
an accessibility checker."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.judged import judged
from tests.support.review_server import NOW, ReviewServer
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.scanning.moderation import Decision

OpenPage = Callable[..., Page]

AXE = Path(__file__).parents[2] / "node" / "node_modules" / "axe-core" / "axe.min.js"
SECTIONS = {
    Role.VIEWER: {"Queue", "Checks"},
    Role.MODERATOR: {"Queue", "Checks"},
    Role.SECURITY: {"Queue", "Checks", "Keys", "Metadata", "Audit log"},
}
HEADINGS = {"": "Queue", "checks": "Checks", "keys": "Keys", "metadata": "Metadata", "audit": "Audit log"}
ALLOWED = {Role.VIEWER: {"", "checks"}, Role.MODERATOR: {"", "checks"}, Role.SECURITY: set(HEADINGS)}


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent")).strip()


def decision_of(server: ReviewServer, page: Page) -> Decision | None:
    scan_id = page.url.partition("?")[0].rpartition("/")[2]
    standing = [one for one in server.do(server.reviews.reviews(scan_id)) if one.undone_at is None]
    return standing[0].decision if standing else None


def open_verdict(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).click()
    page.wait_for_url("**/verdicts/*")  # Until it is loaded, with its script.


@pytest.mark.parametrize("role", list(Role))
def test_each_role_sees_its_pages_and_is_refused_the_others(open_page: OpenPage, role: Role) -> None:
    page = open_page(role)
    assert SECTIONS[role] == set(page.get_by_label("Sections").get_by_role("link").all_inner_texts())
    for path, heading in HEADINGS.items():
        page.goto(f"{page.url.partition('/review/')[0]}/review/{path}")
        told = heading if path in ALLOWED[role] else "This was not done"
        expect(page.get_by_role("heading", level=1)).to_have_text(told)


def test_without_signing_in_there_is_only_the_sign_in_page(open_page: OpenPage) -> None:
    page = open_page(None, "verdicts/1")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


@pytest.mark.parametrize(
    ("role", "key", "decision"),
    [
        (Role.MODERATOR, "t", Decision.THREAT),
        (Role.MODERATOR, "b", Decision.BENIGN),
        (Role.SECURITY, "n", Decision.NOT_SURE),
    ],
)
def test_one_key_decides_and_one_undoes(
    open_page: OpenPage, server: ReviewServer, role: Role, key: str, decision: Decision
) -> None:
    page = open_page(role)
    open_verdict(page, "quick-json-1.0.tar.gz")
    page.keyboard.press(key)
    page.wait_for_url("**?done=decided")
    expect(page.get_by_role("status")).to_contain_text("Your decision is kept")
    assert decision is decision_of(server, page)
    page.keyboard.press("u")
    expect(page.get_by_role("status")).to_have_text("The decision is undone.")
    assert decision_of(server, page) is None


def test_keys_of_a_viewer_decide_nothing(open_page: OpenPage, server: ReviewServer) -> None:
    page = open_page(Role.VIEWER)
    open_verdict(page, "quick-json-1.0.tar.gz")
    for key in "tbnu":
        page.keyboard.press(key)
    page.reload()
    assert decision_of(server, page) is None


def test_the_queue_is_worked_off_with_the_keyboard_alone(open_page: OpenPage, server: ReviewServer) -> None:
    page = open_page(Role.MODERATOR)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert "left-padding-1.4.tar.gz" == focused(page)
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/verdicts/*")
    expect(page.get_by_role("heading", level=1)).to_have_text("left-padding-1.4.1.tar.gz")
    page.keyboard.press("t")
    page.wait_for_url("**?done=decided")
    page.keyboard.press("j")
    page.wait_for_url(re.compile(r"/verdicts/[^?]+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("left-padding-1.4.tar.gz")
    page.keyboard.press("q")
    expect(page.get_by_role("heading", level=1)).to_have_text("Queue")


def test_keys_are_letters_while_somebody_writes(open_page: OpenPage, server: ReviewServer) -> None:
    page = open_page(Role.MODERATOR)
    open_verdict(page, "quick-json-1.0.tar.gz")
    page.get_by_label("Reason").focus()
    page.keyboard.type("tbn u")
    expect(page.get_by_label("Reason")).to_have_value("tbn u")
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    expect(page.get_by_role("status")).to_be_visible()
    expect(page.get_by_text("tbn u")).to_be_visible()
    assert Decision.BENIGN is decision_of(server, page)


def test_with_tab_and_enter_alone_a_verdict_is_decided(open_page: OpenPage, server: ReviewServer) -> None:
    page = open_page(Role.MODERATOR)
    page.keyboard.press("Tab")
    assert "Skip to the content" == focused(page)
    for wanted in ("quick-json-1.0.tar.gz", "Benign b"):
        for _ in range(60):
            if wanted == focused(page):
                break
            page.keyboard.press("Tab")
        assert wanted == focused(page)
        before = page.url
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url, before=before: url != before)  # type: ignore[misc]  # bound now
        expect(page.get_by_role("heading", level=1)).to_have_text("quick-json-1.0.tar.gz")
    expect(page.get_by_role("status")).to_be_visible()
    assert Decision.BENIGN is decision_of(server, page)


def test_several_verdicts_are_decided_at_once(open_page: OpenPage) -> None:
    page = open_page(Role.MODERATOR, "?q=tidy")
    boxes = page.get_by_role("checkbox").all()
    for box in boxes[:3]:
        box.check()
    page.get_by_role("button", name="Benign").click()
    expect(page.get_by_role("status")).to_contain_text("3 decided")
    expect(page.get_by_role("checkbox")).to_have_count(len(boxes) - 3)
    expect(page.get_by_label("Project or SHA-256")).to_have_value("tidy")


def test_filters_and_pages(open_page: OpenPage) -> None:
    page = open_page(Role.VIEWER)
    page.locator("select[name=state]").select_option("any")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Next page").click()
    page.get_by_role("link", name="First page").click()
    page.wait_for_url("**/review/?state=any")
    page.keyboard.press("/")
    page.keyboard.type("left")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_have_text(["left-padding"])


def test_everything_works_without_javascript(open_page: OpenPage, server: ReviewServer) -> None:
    page = open_page(Role.MODERATOR, java_script_enabled=False)
    open_verdict(page, "quick-json-1.0.tar.gz")
    page.get_by_label("Reason").fill("Read by hand.")
    page.get_by_role("button", name="Threat").click()
    expect(page.get_by_role("status")).to_contain_text("Your decision is kept: threat")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_have_text("The decision is undone.")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_stored_script_does_not_run(open_page: OpenPage, server: ReviewServer) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    scan_id = server.do(judged(server.scans, hostile, 40.0, version=hostile, at=NOW))
    page = open_page(Role.MODERATOR)
    for path in ("", f"verdicts/{scan_id}"):
        page.goto(f"{server.url}{path}")
        assert "owned" != page.title()
        assert 0 == page.locator("img").count()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 400)])
def test_axe_finds_nothing_wrong(open_page: OpenPage, server: ReviewServer, scheme: str, width: int) -> None:
    page = open_page(Role.SECURITY, color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True)
    open_verdict(page, "left-padding-1.4.tar.gz")
    page.keyboard.press("b")
    expect(page.get_by_role("status")).to_be_visible()
    verdict = page.url
    for url in (verdict, *(f"{server.url}{path}" for path in (*HEADINGS, "?q=nothing", "verdicts/none"))):
        page.goto(url)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        told = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]
        assert [] == told, f"{url}: {json.dumps(told, indent=1)}"
