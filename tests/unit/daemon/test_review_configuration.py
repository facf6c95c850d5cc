"""The section of the review pages: what would let the wrong people in is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from wharfinger_daemon.config.review import ReviewSettings

PROVIDER = {"issuer": "https://id.example.com", "client_id": "wharfinger"}


@pytest.mark.parametrize(
    "section",
    [
        {"external_url": "http://review.example.com"},
        {"external_url": "https://review.example.com/elsewhere"},
        {"external_url": "https://somebody@review.example.com"},
        {"external_url": "https://review.example.com", "one_time_link": True},
        {"inspector_url": "https://inspector.example.com/{filename}"},
        {"inspector_url": "javascript:alert(1)"},
        {"openid": PROVIDER | {"issuer": "http://id.example.com"}},
        {"openid": PROVIDER | {"scopes": ["profile"]}},
        {"openid": PROVIDER | {"roles": {"administrator": ["all"]}}},
        {"idle_minutes": 0},
    ],
    ids=[
        "no-tls",
        "path",
        "user",
        "link-in-production",
        "unknown-brace",
        "script",
        "provider-without-tls",
        "no-identity-token",
        "unknown-role",
        "endless",
    ],
)
def test_a_section_that_is_not_safe_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReviewSettings.model_validate(section)


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"external_url": "https://review.example.com/"},
        {"external_url": "http://127.0.0.1:9000"},
        {"inspector_url": ""},
        {"openid": PROVIDER | {"issuer": "http://localhost:9000"}},
    ],
    ids=["empty", "tls", "loopback", "no-inspector", "provider-on-loopback"],
)
def test_a_section_that_is_safe_is_taken(section: dict[str, Any]) -> None:
    assert not ReviewSettings.model_validate(section).one_time_link


def test_without_roles_nobody_gets_in() -> None:
    openid = ReviewSettings.model_validate({"openid": PROVIDER}).openid
    assert openid is not None
    assert ((), (), ()) == (openid.roles.viewer, openid.roles.moderator, openid.roles.security)
