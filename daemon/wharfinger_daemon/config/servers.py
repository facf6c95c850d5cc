"""Settings of the servers: addresses, TLS, and who may call."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from wharfinger_daemon.config.rpcs import require_known_rpc
from wharfinger_daemon.config.section import Mebibytes, Name, Positive, Seconds, Section

Address = Annotated[str, StringConstraints(strip_whitespace=True)]


def valid_address(value: str) -> str:
    """The address, if it is one that can be listened on or called: HOST:PORT."""
    host, colon, port = value.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051")
    return value


class TlsSettings(Section):
    """mTLS: what the server shows, and who signs the callers' certificates."""

    certificate_file: Path
    key_file: Path
    client_ca_file: Path


class GrpcSettings(Section):
    """The gRPC server for callers."""

    address: Address = "127.0.0.1:50051"
    max_message_mib: Mebibytes = 16
    max_concurrent_requests: Positive = 64
    default_deadline_seconds: Seconds = 60
    max_deadline_seconds: Seconds = 600
    min_deadline_seconds: Seconds = 0.01
    drain_seconds: Seconds = 30
    tls: TlsSettings

    _check_address = field_validator("address")(valid_address)


class HttpSettings(Section):
    """The HTTP server that a CDN reads from."""

    address: Address = "127.0.0.1:8080"
    targets_directory: Path | None = None
    timestamp_max_age_seconds: Positive = 10
    compressed_cache_mib: Mebibytes = 64
    max_sending_mib: Mebibytes = 256

    _check_address = field_validator("address")(valid_address)


class AdministrationSettings(Section):
    """Addresses for administrators; never the same origin as the CDN's."""

    grpc_address: Address = "127.0.0.1:50052"
    http_address: Address = "127.0.0.1:8081"

    _check_address = field_validator("grpc_address", "http_address")(valid_address)

    @field_validator("http_address")
    @classmethod
    def _loopback_only(cls, value: str) -> str:
        host = value.rpartition(":")[0].strip("[]")
        if host != "localhost" and not _is_loopback(host):
            raise ValueError("has no access control of its own yet, so it must be a loopback address")
        return value


RpcPattern = Annotated[
    str,
    StringConstraints(pattern=r"^wharfinger\.[a-z]+\.v1\.[A-Za-z]+/([A-Za-z]+|\*)$"),
    AfterValidator(require_known_rpc),
]


class RateSettings(Section):
    """How fast signatures may be asked for."""

    signatures_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    burst: Positive = 256


class GrantSettings(Section):
    """Roles of repositories that a caller may have signed, and how fast."""

    repositories: Annotated[tuple[str, ...], Field(min_length=1)]
    roles: Annotated[tuple[str, ...], Field(min_length=1)]
    rate: RateSettings | None = None


class CallerSettings(Section):
    """A caller, known by a subject alternative name of its certificate, and what it may do. Nothing by default."""

    name: Name
    san: Annotated[str, StringConstraints(min_length=1)]
    rpcs: tuple[RpcPattern, ...] = ()
    repositories: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    rate: RateSettings | None = None
    grants: tuple[GrantSettings, ...] = ()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
