"""The pages of checks, keys, metadata and the audit log: what they tell, and to whom."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.judged import AT, judged
from tests.support.review_site import Site
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.scanning.moderation import Decision

PATHS = ("/review/keys", "/review/metadata", "/review/audit")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.MODERATOR])
async def test_only_security_sees_keys_metadata_and_audit_log(site: Site, role: Role, path: str) -> None:
    site.sign_in(role)
    refused = await site.browser.get(path)
    assert 403 == refused.status_code
    assert f"yours is {role}" in refused.text
    assert f'href="{path}"' not in refused.text


@pytest.mark.parametrize("path", PATHS)
async def test_a_process_that_does_not_sign_says_so(site: Site, path: str) -> None:
    site.sign_in(Role.SECURITY)
    page = await site.browser.get(path)
    assert 200 == page.status_code
    assert "Look at the one that does" in page.text


async def test_checks_show_alarms_and_precision_by_project(site: Site) -> None:
    for project, decision in (("alpha", Decision.THREAT), ("beta", Decision.THREAT), ("gamma", Decision.BENIGN)):
        await site.reviews.add([await judged(site.scans, project)], decision, "", "test#1", AT)
    await judged(site.scans, "delta", at=AT - timedelta(days=31))
    site.sign_in(Role.VIEWER)
    page = (await site.browser.get("/review/checks")).text
    assert "Alarms of eager-code in 30 days: 3; at most 3 on one day." in page
    assert "<dd>67 %</dd>" in page


async def test_without_alarms_the_page_of_checks_says_so(site: Site) -> None:
    site.sign_in(Role.VIEWER)
    assert "No check raised an alarm." in (await site.browser.get("/review/checks")).text
