"""Settings of the review pages: how people sign in, and which role they have."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from wharfinger_daemon.config.section import Positive, Section

Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class ReviewRoles(Section):
    """By role, the values of the role claim that give it."""

    viewer: tuple[Text, ...] = ()
    moderator: tuple[Text, ...] = ()
    security: tuple[Text, ...] = ()


class OpenIdSettings(Section):
    """The OpenID provider that people sign in with."""

    issuer: str
    client_id: Text
    client_secret_file: Path | None = None
    scopes: Annotated[tuple[Text, ...], Field(min_length=1)] = ("openid", "profile")
    role_claim: Text = "groups"
    roles: ReviewRoles = ReviewRoles()

    @field_validator("issuer")
    @classmethod
    def _protected(cls, value: str) -> str:
        return _web_address(value)

    @field_validator("scopes")
    @classmethod
    def _openid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value:
            raise ValueError("must have 'openid', or the provider gives no identity token")
        return value


class ReviewSettings(Section):
    """The review pages, on the administrative address."""

    external_url: str = ""
    one_time_link: bool = False
    idle_minutes: Positive = 60
    session_hours: Positive = 8
    inspector_url: str = "https://inspector.pypi.io/project/{project}/{version}/"
    openid: OpenIdSettings | None = None

    @field_validator("external_url")
    @classmethod
    def _origin(cls, value: str) -> str:
        if value and urlsplit(_web_address(value)).path not in ("", "/"):
            raise ValueError("must end with the host: the pages are at /review/ beneath it")
        return value

    @field_validator("inspector_url")
    @classmethod
    def _template(cls, value: str) -> str:
        try:
            value.format(project="", version="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError("may hold {project} and {version}, and no other braces") from error
        return _web_address(value) if value else value

    @model_validator(mode="after")
    def _links_are_for_development(self) -> ReviewSettings:
        if self.one_time_link and self.external_url:
            raise ValueError("one_time_link is for development, where external_url is not set")
        return self


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "https" and parts.hostname and not parts.username:
        return value
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return value
    raise ValueError("must be an https URL, or an http one on loopback")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
