"""Sign-in by OpenID Connect with a real provider (npm's oidc-provider), through its own pages."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest

from tests.support.daemon_process import free_port
from tests.support.review_site import ORIGIN, Site, review_site
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.http.review.openid import OpenIdSignIn, Registration
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.http.review.signing_in import CALLBACK

NODE = Path(__file__).parents[2] / "node"
REDIRECT_URI = f"{ORIGIN}{CALLBACK}"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    port = free_port()
    command = ["node", str(NODE / "openid_provider.mjs"), str(port), REDIRECT_URI]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        while b"ready" not in process.stdout.readline():
            assert process.poll() is None, "the provider did not start"
        yield f"http://127.0.0.1:{port}"
        process.kill()


def registration(issuer: str, secret_file: Path) -> Registration:
    return Registration(
        issuer,
        "wharfinger",
        secret_file,
        REDIRECT_URI,
        ("openid", "profile", "groups"),
        "groups",
        {Role.VIEWER: frozenset({"support"}), Role.SECURITY: frozenset({"alice"})},
    )


@pytest.fixture
async def site(issuer: str, tmp_path: Path) -> AsyncIterator[Site]:
    secret_file = tmp_path / "secret"
    secret_file.write_text("known-to-both\n")
    async with review_site(openid=OpenIdSignIn(registration(issuer, secret_file), SystemClock())) as made:
        yield made


async def at_provider(url: str, login: str) -> str:
    """What somebody does at the provider; returns the URL that it sends them back with."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(url)
        for _ in range(12):
            if answer.has_redirect_location:
                onward = urljoin(str(answer.url), answer.headers["location"])
                if onward.startswith(REDIRECT_URI):
                    return onward
                answer = await browser.get(onward)
                continue
            match = re.search(r'action="([^"]+)"', answer.text)
            assert match is not None, answer.text
            form = {"prompt": re.findall(r'name="prompt" value="(\w+)"', answer.text)[0]}
            if form["prompt"] == "login":
                form |= {"login": login, "password": "any"}
            answer = await browser.post(urljoin(str(answer.url), match[1]), data=form)
    raise AssertionError("the provider sends nobody back")


async def begun(site: Site) -> str:
    answer = await site.browser.get("/review/sign-in/openid")
    assert 303 == answer.status_code, answer.text
    location: str = answer.headers["location"]
    return location


async def test_a_person_signs_in_with_the_role_of_their_group(site: Site, issuer: str) -> None:
    answer = await site.browser.get(await at_provider(await begun(site), "alice"))
    assert (303, "/review/") == (answer.status_code, answer.headers["location"])
    page = (await site.browser.get("/review/")).text
    assert "alice of the tests" in page
    assert "/review/audit" in page
    assert [("in", f"{issuer}#alice")] == site.log.acts


async def test_a_person_without_a_group_that_has_a_role_does_not_get_in(site: Site) -> None:
    answer = await site.browser.get(await at_provider(await begun(site), "mallory"))
    assert (403, []) == (answer.status_code, site.log.acts)
    assert 303 == (await site.browser.get("/review/")).status_code


async def test_the_request_has_pkce_state_and_nonce(site: Site) -> None:
    query = parse_qs(urlsplit(await begun(site)).query)
    assert ["S256"] == query["code_challenge_method"]
    assert {"code_challenge", "state", "nonce"} <= set(query)
    assert REDIRECT_URI == query["redirect_uri"][0]


async def test_what_was_begun_in_one_browser_is_not_finished_in_another(site: Site) -> None:
    """Nobody can be signed in as somebody else by a link that was sent to them."""
    back = await at_provider(await begun(site), "alice")
    site.browser.cookies.clear()
    await begun(site)
    assert 401 == (await site.browser.get(back)).status_code


async def test_an_answer_of_the_provider_is_good_once(site: Site) -> None:
    back = await at_provider(await begun(site), "alice")
    statuses = [(await site.browser.get(back)).status_code for _ in range(2)]
    assert [303, 401] == statuses


async def test_an_answer_that_names_another_provider_is_refused(site: Site) -> None:
    back = await at_provider(await begun(site), "alice")
    forged = re.sub(r"iss=[^&]+", "iss=https%3A%2F%2Fother.example.com", back)
    assert 401 == (await site.browser.get(forged)).status_code


async def test_a_code_without_its_verifier_is_worthless(site: Site) -> None:
    """PKCE: who steals a code cannot have it redeemed in a sign-in of their own."""
    stolen = parse_qs(urlsplit(await at_provider(await begun(site), "alice")).query)["code"][0]
    own = parse_qs(urlsplit(await begun(site)).query)["state"][0]
    query = {"code": stolen, "state": own, "iss": site_issuer(site)}
    assert 401 == (await site.browser.get(CALLBACK, params=query)).status_code


def site_issuer(site: Site) -> str:
    assert site.openid is not None
    return site.openid.registration.issuer


async def test_without_the_provider_people_are_told_so(tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    async with review_site(openid=OpenIdSignIn(registration(gone, tmp_path / "secret"), SystemClock())) as site:
        (tmp_path / "secret").write_text("secret")
        answer = await site.browser.get("/review/sign-in/openid")
        assert 503 == answer.status_code
        assert "OpenID provider" in answer.text
