"""Sessions of the review pages: nobody can forge one, send a form from elsewhere, or use one that ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.review_site import ORIGIN, Site, review_site
from wharfinger_daemon.http.review.people import Role

HOME = "/review/"
SIGN_IN = "/review/sign-in"
COOKIE = "wharfinger-review"


async def test_without_a_session_every_page_leads_to_sign_in(site: Site) -> None:
    answer = await site.browser.get(HOME)
    assert (303, SIGN_IN) == (answer.status_code, answer.headers["location"])


async def test_a_one_time_link_signs_in_once(site: Site) -> None:
    site.links.show()
    first = await site.browser.get(site.shown[0])
    assert (303, HOME) == (first.status_code, first.headers["location"])
    assert 200 == (await site.browser.get(HOME)).status_code
    assert [("in", "one-time-link")] == site.log.acts
    site.browser.cookies.clear()
    assert 403 == (await site.browser.get(site.shown[0])).status_code


async def test_a_link_is_void_once_another_was_shown_or_an_hour_passed(site: Site) -> None:
    for wait in (timedelta(minutes=1), timedelta(hours=1)):
        assert site.links.show()
        shown = site.shown[-1]
        site.clock.advance(wait)
        site.links.show()
        assert 403 == (await site.browser.get(shown)).status_code
        site.clock.advance(timedelta(minutes=1))


async def test_links_are_not_shown_again_and_again(site: Site) -> None:
    told = [(await site.browser.post(f"{SIGN_IN}/link")).headers["location"] for _ in range(3)]
    assert [f"{SIGN_IN}?told=link", f"{SIGN_IN}?told=wait", f"{SIGN_IN}?told=wait"] == told
    assert 1 == len(site.shown)


async def test_another_site_cannot_have_a_link_shown(site: Site) -> None:
    answer = await site.browser.post(f"{SIGN_IN}/link", headers={"Origin": "https://elsewhere.example.com"})
    assert (403, []) == (answer.status_code, site.shown)


async def test_the_cookie_is_kept_from_scripts_and_other_sites(site: Site) -> None:
    site.links.show()
    set_cookie = (await site.browser.get(site.shown[0])).headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip() for part in set_cookie.split(";")}
    assert "secure" not in set_cookie


async def test_behind_tls_the_cookie_is_kept_to_it() -> None:
    async with review_site("https://review.example.com") as site:
        site.links.show()
        set_cookie = (await site.browser.get(site.shown[0])).headers["set-cookie"]
        assert set_cookie.startswith("__Host-wharfinger-review=")
        assert "secure" in set_cookie.lower()


@pytest.mark.parametrize("forge", ["signature", "name", "nothing", "unsigned", "not-ascii"])
async def test_a_forged_cookie_is_no_session(site: Site, forge: str) -> None:
    site.sign_in(Role.SECURITY)
    name, _, signature = site.browser.cookies[COOKIE].partition(".")
    forged = {
        "signature": f"{name}.{'0' * len(signature)}",
        "name": f"{name}A.{signature}",
        "nothing": "",
        "unsigned": name,
        "not-ascii": "%C3%A9.%C3%A9",
    }[forge]
    site.browser.cookies.clear()
    answer = await site.browser.get(HOME, headers={"Cookie": f"{COOKIE}={forged}"})
    assert 303 == answer.status_code


async def test_a_cookie_of_another_process_is_no_session(site: Site) -> None:
    async with review_site() as other:
        other.sign_in(Role.SECURITY)
        site.browser.cookies.set(COOKIE, other.browser.cookies[COOKIE])
    assert 303 == (await site.browser.get(HOME)).status_code


async def test_a_session_ends_when_it_is_not_used(site: Site) -> None:
    site.sign_in(Role.VIEWER)
    for minutes, status in ((59, 200), (59, 200), (60, 303)):
        site.clock.advance(timedelta(minutes=minutes))
        assert status == (await site.browser.get(HOME)).status_code


async def test_a_session_ends_after_its_whole_time_however_much_it_is_used(site: Site) -> None:
    site.sign_in(Role.VIEWER)
    statuses = []
    for _ in range(16):
        site.clock.advance(timedelta(minutes=30))
        statuses.append((await site.browser.get(HOME)).status_code)
    assert [200] * 15 + [303] == statuses


async def test_signing_out_ends_the_session_and_not_only_the_cookie(site: Site) -> None:
    csrf, kept = site.sign_in(Role.VIEWER), site.browser.cookies[COOKIE]
    assert 303 == (await site.browser.post("/review/sign-out", data={"csrf": csrf})).status_code
    assert [("out", "test#viewer")] == site.log.acts
    site.browser.cookies.set(COOKIE, kept)
    assert 303 == (await site.browser.get(HOME)).status_code


@pytest.mark.parametrize("token", ["", "0" * 43, "é"])
async def test_a_form_without_the_sessions_token_changes_nothing(site: Site, token: str) -> None:
    site.sign_in(Role.SECURITY)
    assert 403 == (await site.browser.post("/review/sign-out", data={"csrf": token})).status_code
    assert 200 == (await site.browser.get(HOME)).status_code


async def test_the_token_of_another_session_is_no_good(site: Site) -> None:
    others = site.sign_in(Role.SECURITY)
    site.sign_in(Role.SECURITY)
    assert 403 == (await site.browser.post("/review/sign-out", data={"csrf": others})).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": ORIGIN},
    ],
    ids=["origin", "null", "cross-site", "same-site"],
)
async def test_a_form_of_another_site_changes_nothing_even_with_the_token(site: Site, headers: dict[str, str]) -> None:
    csrf = site.sign_in(Role.SECURITY)
    answer = await site.browser.post("/review/sign-out", data={"csrf": csrf}, headers=headers)
    assert 403 == answer.status_code
    assert 200 == (await site.browser.get(HOME)).status_code


async def test_only_forms_are_read_and_no_large_ones(site: Site) -> None:
    csrf = site.sign_in(Role.VIEWER)
    as_json = await site.browser.post("/review/sign-out", json={"csrf": csrf})
    large = await site.browser.post("/review/sign-out", data={"csrf": csrf, "x": "y" * 70_000})
    assert (415, 413) == (as_json.status_code, large.status_code)


@pytest.mark.parametrize("path", [HOME, SIGN_IN, "/review/static/review.css", "/review/nothing"])
async def test_another_host_is_answered_with_nothing(site: Site, path: str) -> None:
    """A name of somebody else that resolves to loopback shares no origin with the pages."""
    site.sign_in(Role.SECURITY)
    answer = await site.browser.get(path, headers={"Host": "rebound.example.com:8081"})
    assert 421 == answer.status_code


@pytest.mark.parametrize("path", [HOME, SIGN_IN, "/review/static/review.js", "/review/nothing"])
async def test_every_answer_forbids_foreign_and_inline_content(site: Site, path: str) -> None:
    answer = await site.browser.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert "no-store" == answer.headers["cache-control"]


async def test_without_a_trailing_slash_the_browser_is_sent_on(site: Site) -> None:
    answer = await site.browser.get("/review")
    assert (303, HOME) == (answer.status_code, answer.headers["location"])
