"""The pages of verdicts: what each role sees and may do, and that hostile packages stay text."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from tests.support.judged import AT, finding, judged
from tests.support.review_site import Site
from wharfinger_daemon.audit.leaf import Act
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.scanning.moderation import Decision

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
QUEUE = "/review/"


def verdict(scan_id: str) -> str:
    return f"/review/verdicts/{scan_id}"


async def test_the_queue_shows_what_waits_by_project_worst_first(site: Site) -> None:
    for project, score in (("calm", 0.0), ("odd", 5.0), ("bad", 12.0)):
        await judged(site.scans, project, score)
    site.sign_in(Role.VIEWER)
    page = (await site.browser.get(QUEUE)).text
    assert ["bad", "odd"] == re.findall(r'<h2 id="project-\d+"><bdi>(\w+)</bdi>', page)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("q=od", ["odd"]),
        ("classification=threat", ["bad"]),
        ("check=yara-rules", ["odd"]),
        ("state=any&q=calm", ["calm"]),
        ("age=day", ["bad", "odd"]),
        ("age=older", []),
        ("confidence=high", []),
    ],
)
async def test_filters_of_the_queue(site: Site, query: str, shown: list[str]) -> None:
    await judged(site.scans, "calm", 0.0)
    await judged(site.scans, "odd", 5.0, findings=[finding("yara-rules", 5.0)])
    await judged(site.scans, "bad", 12.0)
    site.sign_in(Role.VIEWER)
    page = (await site.browser.get(f"{QUEUE}?{query}")).text
    assert shown == re.findall(r'<h2 id="project-\d+"><bdi>(\w+)</bdi>', page)


@pytest.mark.parametrize(
    "query", ["state=none", "classification=x", "confidence=x", "age=x", "after=x", "q=%00", f"q={'x' * 300}"]
)
async def test_a_filter_that_means_nothing_is_refused(site: Site, query: str) -> None:
    site.sign_in(Role.VIEWER)
    assert 400 == (await site.browser.get(f"{QUEUE}?{query}")).status_code


async def test_pages_of_the_queue_lead_to_one_another(site: Site) -> None:
    for number in range(30):
        await judged(site.scans, f"p{number:02}", 10.0 + number % 3)
    site.sign_in(Role.VIEWER)
    seen: list[str] = []
    path: str | None = f"{QUEUE}?classification=threat"
    while path is not None:
        page = (await site.browser.get(path)).text
        seen += re.findall(r'<h2 id="project-\d+"><bdi>(\w+)</bdi>', page)
        onward = re.search(r'href="(/review/\?[^"]+)" rel="next"', page)
        path = None if onward is None else onward[1].replace("&amp;", "&")
    assert 30 == len(seen) == len(set(seen))


async def test_a_verdict_shows_evidence_score_history_and_inspector(site: Site) -> None:
    await judged(site.scans, "alpha", 2.0, version="0.9", findings=[], at=AT - timedelta(days=1))
    scan_id = await judged(site.scans, "alpha", 12.0)
    site.sign_in(Role.VIEWER)
    page = (await site.browser.get(verdict(scan_id))).text
    for told in (
        "Text that is decoded is executed",
        "sample-1.0/setup.py",
        '<span class="n">b64decode</span>',
        "eager-code/install-decoded-execution",
        "The score is 12; from 4 on it is suspicious, from 10 on a threat.",
        "https://inspector.example.com/alpha/1.0",
        "alpha-0.9.tar.gz",
    ):
        assert told in page, told


async def test_nothing_that_a_package_contains_becomes_markup(site: Site) -> None:
    """Stored script in names, members, messages and excerpts, in every kind of member that is highlighted."""
    members = [f"{HOSTILE}{suffix}" for suffix in (".py", ".sh", ".js", ".json", ".toml", ".html", ".yaml", ".ini", "")]
    findings = [
        finding(member=member, excerpt=HOSTILE, message=HOSTILE, rule=f"rule-{number}", weight=1.0)
        for number, member in enumerate(members)
    ]
    scan_id = await judged(site.scans, HOSTILE, 12.0, findings=findings, version=HOSTILE)
    csrf = site.sign_in(Role.SECURITY)
    await site.browser.post(f"{verdict(scan_id)}/decide", data={"csrf": csrf, "decision": "threat", "reason": HOSTILE})
    for path in (QUEUE, f"{QUEUE}?state=any&q=%3Cscript%3E", verdict(scan_id)):
        page = (await site.browser.get(path)).text
        assert "alert(1)" in page or path == QUEUE
        tags = _tags(page)
        assert [{"src": "/review/static/review.js", "defer": None}] == [held for tag, held in tags if tag == "script"]
        assert "img" not in {tag for tag, _ in tags}
        assert [] == [name for _, held in tags for name in held if name.startswith("on")]


def _tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    Reader().feed(page)
    return found


async def test_a_decision_of_a_moderator_is_kept_and_can_be_undone(site: Site) -> None:
    scan_id = await judged(site.scans, "alpha")
    csrf = site.sign_in(Role.MODERATOR)
    form = {"csrf": csrf, "decision": "benign", "reason": "It is a test."}
    decided = await site.browser.post(f"{verdict(scan_id)}/decide", data=form)
    assert (303, f"{verdict(scan_id)}?done=decided") == (decided.status_code, decided.headers["location"])
    page = (await site.browser.get(decided.headers["location"])).text
    assert "Your decision is kept: benign" in page
    assert "It is a test." in page
    await site.browser.post(f"{verdict(scan_id)}/undo", data={"csrf": csrf})
    (review,) = await site.reviews.reviews(scan_id)
    assert (Decision.BENIGN, "test#moderator", "test#moderator") == (
        review.decision,
        review.reviewer,
        review.undone_by,
    )
    assert [Act.VERDICT_REVIEWED, Act.VERDICT_REVIEW_UNDONE] == [leaf.act for leaf in site.acts]


async def test_several_verdicts_are_decided_at_once_and_the_filter_stays(site: Site) -> None:
    chosen = [await judged(site.scans, project) for project in ("alpha", "beta")]
    await judged(site.scans, "gamma")
    csrf = site.sign_in(Role.MODERATOR)
    form = {"csrf": csrf, "scan": chosen, "decision": "threat", "here": "classification=threat&next=//elsewhere"}
    decided = await site.browser.post("/review/decide", data=form)
    assert "/review/?classification=threat&decided=2" == decided.headers["location"]
    page = (await site.browser.get(decided.headers["location"])).text
    assert ["gamma"] == re.findall(r'<h2 id="project-\d+"><bdi>(\w+)</bdi>', page)


async def test_nothing_chosen_is_refused_with_a_reason(site: Site) -> None:
    csrf = site.sign_in(Role.MODERATOR)
    answer = await site.browser.post("/review/decide", data={"csrf": csrf, "decision": "threat"})
    assert 400 == answer.status_code
    assert "Choose between 1 and 200" in answer.text


async def test_a_decision_that_does_not_exist_is_refused(site: Site) -> None:
    scan_id = await judged(site.scans, "alpha")
    csrf = site.sign_in(Role.MODERATOR)
    answer = await site.browser.post(f"{verdict(scan_id)}/decide", data={"csrf": csrf, "decision": "maybe"})
    assert (400, []) == (answer.status_code, list(await site.reviews.reviews(scan_id)))


@pytest.mark.parametrize("path", ["/review/decide", "/review/verdicts/{scan}/decide", "/review/verdicts/{scan}/undo"])
async def test_a_viewer_decides_nothing(site: Site, path: str) -> None:
    scan_id = await judged(site.scans, "alpha")
    csrf = site.sign_in(Role.VIEWER)
    form = {"csrf": csrf, "decision": "benign", "scan": [scan_id]}
    answer = await site.browser.post(path.format(scan=scan_id), data=form)
    assert (403, []) == (answer.status_code, list(await site.reviews.reviews(scan_id)))
    page = (await site.browser.get(verdict(scan_id))).text
    assert 'name="decision"' not in page


@pytest.mark.parametrize("path", ["/review/decide", "/review/verdicts/{scan}/decide", "/review/verdicts/{scan}/undo"])
@pytest.mark.parametrize("attack", ["no-session", "no-token", "get"])
async def test_without_session_token_or_post_nothing_is_decided(site: Site, path: str, attack: str) -> None:
    scan_id = await judged(site.scans, "alpha")
    place, form = path.format(scan=scan_id), {"decision": "benign", "scan": [scan_id], "csrf": "x"}
    if attack == "no-session":
        answer = await site.browser.post(place, data=form)
    else:
        csrf = site.sign_in(Role.SECURITY)
        if attack == "get":
            answer = await site.browser.get(place, params={**form, "csrf": csrf})
        else:
            answer = await site.browser.post(place, data=form)
    assert {"no-session": 303, "no-token": 403, "get": 405}[attack] == answer.status_code
    assert [] == list(await site.reviews.reviews(scan_id))


async def test_a_verdict_that_is_not_there_is_not_found(site: Site) -> None:
    site.sign_in(Role.VIEWER)
    assert 404 == (await site.browser.get(verdict("ffffffff"))).status_code
