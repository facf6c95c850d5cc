"""Settings of the caches that are told of publications."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator

from wharfinger_daemon.config.section import Seconds, Section
from wharfinger_daemon.config.servers import Address, valid_address


class FastlySettings(Section):
    """A service of Fastly."""

    service_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,64}$")]
    token_file: Path
    soft_purge: bool = False
    again_after_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2
    timeout_seconds: Seconds = 5
    api_url: str = "https://api.fastly.com"

    @field_validator("api_url")
    @classmethod
    def _private(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be a URL such as https://api.fastly.com")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("must begin with https://, because the token goes there")
        return value.rstrip("/")


class VarnishSettings(Section):
    """Varnishes, each by its address."""

    addresses: Annotated[tuple[Address, ...], Field(min_length=1)]
    soft_purge: bool = False
    timeout_seconds: Seconds = 2

    @field_validator("addresses")
    @classmethod
    def _valid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("an address stands there twice")
        return tuple(valid_address(address) for address in value)


class CachesSettings(Section):
    """Caches in front of the metadata."""

    fastly: FastlySettings | None = None
    varnish: VarnishSettings | None = None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
