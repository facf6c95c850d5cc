"""Sign-in by OpenID Connect: the authorization code flow with PKCE, state and nonce (OpenID Connect Core 1.0, 3.1;
RFC 7636; RFC 9700, 2.1).

The identity token alone says who somebody is; nothing is asked with the access token, and neither is kept.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import NotGrantedError, Reason, UnauthenticatedError, UnavailableError
from wharfinger_daemon.http.review.people import Person, Role

# Signatures that only the provider can make: with the others, whoever knows the client's secret could.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LIFE = timedelta(minutes=10)
_MOST_PENDING = 1000
_LEEWAY_SECONDS = 60


@dataclass(frozen=True)
class Registration:
    """What the provider knows this daemon by, and what its claims mean here.

    Attributes:
        secret_file: the client's secret; None for a public client, which PKCE protects by itself.
        role_claim: the claim with groups or roles: a text, or a list of them.
        roles: by role, the values of that claim that give it.
    """

    issuer: str
    client_id: str
    secret_file: Path | None
    redirect_uri: str
    scopes: tuple[str, ...]
    role_claim: str
    roles: Mapping[Role, frozenset[str]]


@dataclass(frozen=True)
class Begun:
    """A sign-in on its way: ``binding`` is for a cookie of the browser that began it."""

    url: str
    binding: str


@dataclass(frozen=True)
class _Pending:
    binding: str
    nonce: str
    verifier: str
    begun_at: datetime


@dataclass(frozen=True)
class _Provider:
    authorization: str
    token: str
    jwks: str
    names_itself: bool


@dataclass
class OpenIdSignIn:
    """Sends browsers to a provider, and judges what they come back with.

    Raises:
        UnavailableError: SIGN_IN_UNAVAILABLE; from ``begin`` and ``finish``, when the provider does not answer.
    """

    registration: Registration
    clock: Clock
    timeout_seconds: float = 10.0
    _pending: dict[str, _Pending] = field(default_factory=dict)

    async def begin(self) -> Begun:
        """A sign-in: where to send the browser, and what to bind it with."""
        async with self._client() as client:
            provider = await self._discover(client)
            state, now = secrets.token_urlsafe(32), self.clock.now()
            pending = _Pending(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), now)
            url, _ = client.create_authorization_url(
                provider.authorization, state=state, nonce=pending.nonce, code_verifier=pending.verifier
            )
        self._keep(state, pending, now)
        return Begun(str(url), pending.binding)

    async def finish(self, query: Mapping[str, str], binding: str) -> Person:
        """Who came back from the provider.

        Args:
            query: of the request that the provider sent the browser with.
            binding: the cookie of the browser: nobody can finish in one browser what was begun in another.

        Raises:
            UnauthenticatedError: SIGN_IN_FAILED; it was not begun here, the provider refused, or its token is wrong.
            NotGrantedError: ROLE_MISSING; the provider knows them, and none of their groups has a role here.
        """
        pending = self._pending.pop(query.get("state", ""), None)
        if pending is None or self.clock.now() - pending.begun_at >= _LIFE:
            raise _failed("it was not begun here, took too long, or was finished already")
        if not hmac.compare_digest(pending.binding.encode(), binding.encode()):
            raise _failed("it was begun in another browser")
        if "code" not in query:
            raise _failed("the provider refused it")
        async with self._client() as client:
            provider = await self._discover(client)
            # RFC 9207: an answer of another provider is not taken to this one.
            issuer = query.get("iss")
            if (issuer or provider.names_itself) and issuer != self.registration.issuer:
                raise _failed("the answer is from another provider")
            token = await self._redeem(client, provider, query["code"], pending)
            keys = await self._json(client, provider.jwks)
        return self._person(self._claims(token, keys, pending.nonce))

    def _keep(self, state: str, pending: _Pending, now: datetime) -> None:
        self._pending = {name: one for name, one in self._pending.items() if now - one.begun_at < _LIFE}
        while len(self._pending) >= _MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[state] = pending

    def _client(self) -> Any:
        registered = self.registration
        secret = None if registered.secret_file is None else _secret(registered.secret_file)
        return AsyncOAuth2Client(
            client_id=registered.client_id,
            client_secret=secret,
            token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
            scope=" ".join(registered.scopes),
            redirect_uri=registered.redirect_uri,
            code_challenge_method="S256",
            timeout=self.timeout_seconds,
            trust_env=False,
        )

    async def _discover(self, client: Any) -> _Provider:
        found = await self._json(client, f"{self.registration.issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            if found["issuer"] != self.registration.issuer:
                raise _unavailable("it calls itself by another name than review.openid.issuer")
            return _Provider(
                str(found["authorization_endpoint"]),
                str(found["token_endpoint"]),
                str(found["jwks_uri"]),
                bool(found.get("authorization_response_iss_parameter_supported", False)),
            )
        except (KeyError, TypeError) as error:
            raise _unavailable("its configuration lacks an endpoint") from error

    async def _json(self, client: Any, url: str) -> Any:
        try:
            answer = await client.request("GET", url, withhold_token=True)
            answer.raise_for_status()
            return answer.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise _unavailable(f"{type(error).__name__} at {url}") from error

    async def _redeem(self, client: Any, provider: _Provider, code: str, pending: _Pending) -> str:
        try:
            tokens = await client.fetch_token(provider.token, code=code, code_verifier=pending.verifier)
            return str(tokens["id_token"])
        except AuthlibBaseError as error:
            raise _failed("the provider did not take its code") from error
        except (httpx2.HTTPError, ValueError) as error:
            raise _unavailable(f"{type(error).__name__} at {provider.token}") from error
        except KeyError as error:
            raise _failed("the provider gave no identity token") from error

    def _claims(self, token: str, keys: Any, nonce: str) -> Mapping[str, Any]:
        wanted = {
            "iss": {"essential": True, "value": self.registration.issuer},
            "aud": {"essential": True, "value": self.registration.client_id},
        }
        try:
            decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=_ALGORITHMS)
            parameters = {"nonce": nonce, "client_id": self.registration.client_id}
            claims = CodeIDToken(decoded.claims, decoded.header, wanted, parameters)
            claims.validate(now=int(self.clock.now().timestamp()), leeway=_LEEWAY_SECONDS)
        except (AuthlibBaseError, JoseError, ValueError, TypeError, KeyError) as error:
            raise _failed("the identity token is not right") from error
        return claims

    def _person(self, claims: Mapping[str, Any]) -> Person:
        stated = claims.get(self.registration.role_claim, [])
        values = {stated} if isinstance(stated, str) else {one for one in stated if isinstance(one, str)}
        held = [role for role in Role if values & self.registration.roles.get(role, frozenset())]
        shown = next((claims[name] for name in ("name", "preferred_username", "email") if claims.get(name)), "")
        if not held:
            raise NotGrantedError(
                "You are signed in at the provider, and none of your groups has a role here. Ask whoever looks after "
                "this daemon for one.",
                reason=Reason.ROLE_MISSING,
            )
        return Person(f"{self.registration.issuer}#{claims['sub']}", str(shown or claims["sub"])[:100], held[-1])


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _unavailable("the file that review.openid.client_secret_file names cannot be read") from error


def _failed(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"This sign-in did not work: {why}. Begin again.", reason=Reason.SIGN_IN_FAILED)


def _unavailable(why: str) -> UnavailableError:
    return UnavailableError(
        f"Nobody can sign in now, because the OpenID provider cannot be used: {why}. Try again, or look at the "
        "provider and at [review.openid].",
        reason=Reason.SIGN_IN_UNAVAILABLE,
    )
