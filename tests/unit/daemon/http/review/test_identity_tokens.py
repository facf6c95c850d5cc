"""Identity tokens: whatever is wrong with one, nobody is signed in by it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.daemon_process import free_port
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.errors import NotGrantedError, UnauthenticatedError, UnavailableError
from wharfinger_daemon.http.review.openid import OpenIdSignIn, Registration
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.http.server import HttpServer

KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "one"})
# As long as a secret may be that HS256 takes; the provider's public key would do as well.
SECRET = OctKey.import_key("s" * 32)


class ScriptedProvider:
    """An OpenID provider that says in its tokens what it is told to."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.named = issuer
        self.token: Callable[[dict[str, Any]], str | None] = signed
        self.claims: dict[str, Any] = {}
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/token", self._token, methods=["POST"]),
                Route("/jwks", self._keys),
            ]
        )

    async def _configuration(self, request: Request) -> Response:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return JSONResponse({"issuer": self.named} | {key: f"{self.issuer}/{path}" for key, path in names.items()})

    async def _token(self, request: Request) -> Response:
        answer = {"access_token": "x", "token_type": "Bearer", "id_token": self.token(self.claims)}
        return JSONResponse({key: value for key, value in answer.items() if value is not None})

    async def _keys(self, request: Request) -> Response:
        return JSONResponse(KeySet([KEY]).as_dict(private=False))


def signed(claims: dict[str, Any], key: RSAKey = KEY) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)


def with_secret(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256", "kid": "one"}, claims, SECRET)


def unsigned(claims: dict[str, Any]) -> str:
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)
    )
    return f"{'.'.join(parts)}."


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    address = f"127.0.0.1:{free_port()}"
    scripted = ScriptedProvider(f"http://{address}")
    server = HttpServer(scripted.app, address)
    await server.start()
    yield scripted
    await server.stop()


@pytest.fixture
def sign_in(provider: ScriptedProvider) -> OpenIdSignIn:
    roles = {Role.MODERATOR: frozenset({"moderators"}), Role.VIEWER: frozenset({"support"})}
    registered = Registration(provider.issuer, "us", None, "http://127.0.0.1/callback", ("openid",), "groups", roles)
    return OpenIdSignIn(registered, SystemClock())


async def finish(provider: ScriptedProvider, sign_in: OpenIdSignIn, **changes: Any) -> Any:
    begun = await sign_in.begin()
    query = parse_qs(urlsplit(begun.url).query)
    now = int(time.time())
    good = {
        "iss": provider.issuer,
        "aud": "us",
        "sub": "7",
        "exp": now + 60,
        "iat": now,
        "nonce": query["nonce"][0],
        "groups": ["moderators", "support"],
        "name": "Somebody",
    }
    provider.claims = {name: value for name, value in (good | changes).items() if value is not None}
    return await sign_in.finish({"state": query["state"][0], "code": "c"}, begun.binding)


async def test_a_good_token_names_the_person_and_the_highest_role(
    provider: ScriptedProvider, sign_in: OpenIdSignIn
) -> None:
    person = await finish(provider, sign_in)
    assert (f"{provider.issuer}#7", "Somebody", Role.MODERATOR) == (person.name, person.shown, person.role)


async def test_a_claim_may_be_one_text(provider: ScriptedProvider, sign_in: OpenIdSignIn) -> None:
    assert Role.VIEWER == (await finish(provider, sign_in, groups="support")).role


@pytest.mark.parametrize("groups", [None, [], "", ["moderator"], [7], "moderators support"])
async def test_without_a_value_that_has_a_role_nobody_gets_in(
    provider: ScriptedProvider, sign_in: OpenIdSignIn, groups: object
) -> None:
    with pytest.raises(NotGrantedError):
        await finish(provider, sign_in, groups=groups)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example.com"},
        {"aud": "others"},
        {"aud": ["us", "others"], "azp": "others"},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"sub": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
    ],
    ids=lambda changes: "-".join(f"{name}={value}" for name, value in changes.items()),
)
async def test_a_token_with_a_wrong_claim_is_refused(
    provider: ScriptedProvider, sign_in: OpenIdSignIn, changes: dict[str, Any]
) -> None:
    with pytest.raises(UnauthenticatedError):
        await finish(provider, sign_in, **changes)


@pytest.mark.parametrize(
    "token",
    [with_secret, unsigned, lambda claims: signed(claims, OTHER_KEY), lambda claims: "x.y.z", lambda claims: None],
    ids=["symmetric", "none", "other-key", "garbage", "missing"],
)
async def test_a_token_that_the_provider_did_not_sign_is_refused(
    provider: ScriptedProvider, sign_in: OpenIdSignIn, token: Callable[[dict[str, Any]], str | None]
) -> None:
    provider.token = token
    with pytest.raises(UnauthenticatedError):
        await finish(provider, sign_in)


async def test_a_provider_that_calls_itself_otherwise_is_not_used(
    provider: ScriptedProvider, sign_in: OpenIdSignIn
) -> None:
    provider.named = "https://other.example.com"
    with pytest.raises(UnavailableError):
        await sign_in.begin()
