"""The typed tree of settings. ``deploy/wharfinger.toml`` is the manual of every key; a test keeps the two together."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator


class Job(StrEnum):
    """A job that one process can have."""

    SIGN = "sign"
    METADATA = "metadata"
    SCAN = "scan"


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051")
    return value


Address = Annotated[str, StringConstraints(strip_whitespace=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Mebibytes = Annotated[int, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class TlsSettings(_Section):
    """mTLS: what the server shows, and who signs the callers' certificates."""

    certificate_file: Path
    key_file: Path
    client_ca_file: Path


class GrpcSettings(_Section):
    """The gRPC server for callers."""

    address: Address = "127.0.0.1:50051"
    max_message_mib: Mebibytes = 16
    max_concurrent_requests: Positive = 64
    default_deadline_seconds: Seconds = 60
    max_deadline_seconds: Seconds = 600
    drain_seconds: Seconds = 30
    tls: TlsSettings

    _check_address = field_validator("address")(_address)


class HttpSettings(_Section):
    """The HTTP server that a CDN reads from."""

    address: Address = "127.0.0.1:8080"
    targets_directory: Path | None = None
    timestamp_max_age_seconds: Positive = 10

    _check_address = field_validator("address")(_address)


class AdministrationSettings(_Section):
    """Addresses for administrators; never the same origin as the CDN's."""

    grpc_address: Address = "127.0.0.1:50052"
    http_address: Address = "127.0.0.1:8081"

    _check_address = field_validator("grpc_address", "http_address")(_address)

    @field_validator("http_address")
    @classmethod
    def _loopback_only(cls, value: str) -> str:
        host = value.rpartition(":")[0].strip("[]")
        if host != "localhost" and not _is_loopback(host):
            raise ValueError("has no access control of its own yet, so it must be a loopback address")
        return value


class DatabaseSettings(_Section):
    """Where state, ledger and results are kept."""

    url: str = "sqlite:///wharfinger.db"

    @field_validator("url")
    @classmethod
    def _sqlite_only(cls, value: str) -> str:
        if not value.startswith("sqlite:///") or value == "sqlite:///":
            raise ValueError("must be sqlite:///PATH; other databases are not supported yet")
        return value


class HsmSettings(_Section):
    """The token with the online keys."""

    module: Path
    token_label: str
    pin_file: Path
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    call_timeout_seconds: Seconds = 10
    canary_key_label: str = "canary"
    canary_interval_seconds: Seconds = 5
    environment: dict[str, str] = {}


class RepositorySettings(_Section):
    """A repository whose metadata may be signed. ``root_sha256`` pins its trusted root 1 and is its identity."""

    name: Name
    root_sha256: Sha256
    metadata_directory: Path


class ExpiryCeilings(_Section):
    """The farthest in the future that metadata of each type may expire."""

    root_days: Positive = 400
    targets_days: Positive = 400
    bins_hours: Positive = 48
    snapshot_hours: Positive = 48
    timestamp_hours: Positive = 48


class SigningSettings(_Section):
    """What is signed, beyond what the specification demands."""

    max_batch: Positive = 256
    max_version_jump: Positive = 1000
    expiry_ceilings: ExpiryCeilings = ExpiryCeilings()


class MetadataSettings(_Section):
    """The repository that this daemon publishes."""

    repository: Name
    bins_expire_hours: Positive = 24
    snapshot_expire_hours: Positive = 24
    timestamp_expire_hours: Positive = 24
    renewal_check_seconds: Seconds = 60


class ScanSettings(_Section):
    """Scanning."""

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    max_waiting: Positive = 1000
    artifact_max_mib: Mebibytes = 1024
    unpacked_max_mib: Mebibytes = 2048
    member_max_mib: Mebibytes = 128
    worker_memory_mib: Mebibytes = 1024
    scan_timeout_seconds: Seconds = 120
    check_timeout_seconds: Seconds = 30
    require_seccomp: bool = True
    require_landlock: bool = True
    artifact_roots: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = ()


class LoggingSettings(_Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


RpcPattern = Annotated[str, StringConstraints(pattern=r"^wharfinger\.[a-z]+\.v1\.[A-Za-z]+/([A-Za-z]+|\*)$")]


class CallerSettings(_Section):
    """A caller, known by a subject alternative name of its certificate, and what it may do. Nothing by default."""

    name: Name
    san: Annotated[str, StringConstraints(min_length=1)]
    rpcs: tuple[RpcPattern, ...] = ()
    repositories: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


class Settings(_Section):
    """The whole configuration.

    Attributes:
        jobs: what this process does; the file says ``roles``.
        state_directory: where small marks are kept that must survive a restart.
    """

    jobs: tuple[Job, ...] = Field(default=tuple(Job), alias="roles", min_length=1)
    state_directory: Path = Path()
    grpc: GrpcSettings
    http: HttpSettings = HttpSettings()
    administration: AdministrationSettings = AdministrationSettings()
    database: DatabaseSettings = DatabaseSettings()
    hsm: HsmSettings | None = None
    repositories: tuple[RepositorySettings, ...] = ()
    signing: SigningSettings = SigningSettings()
    metadata: MetadataSettings | None = None
    scan: ScanSettings = ScanSettings()
    logging: LoggingSettings = LoggingSettings()
    callers: tuple[CallerSettings, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        _unique("repositories", (repository.name for repository in self.repositories))
        _unique("callers", (caller.name for caller in self.callers))
        _unique("callers' san", (caller.san for caller in self.callers))
        if Job.SIGN in self.jobs and (self.hsm is None or not self.repositories):
            raise ValueError("roles has 'sign', which needs [hsm] and at least one [[repositories]]")
        if Job.METADATA in self.jobs:
            self._check_metadata()
        return self

    def _check_metadata(self) -> None:
        if Job.SIGN not in self.jobs:
            raise ValueError("roles has 'metadata', which needs 'sign' in the same process in this version")
        if self.metadata is None:
            raise ValueError("roles has 'metadata', which needs [metadata]")
        if self.metadata.repository not in {repository.name for repository in self.repositories}:
            raise ValueError(f"metadata.repository names '{self.metadata.repository}', which no [[repositories]] has")
        ceilings = self.signing.expiry_ceilings
        for role, hours, ceiling in (
            ("bins", self.metadata.bins_expire_hours, ceilings.bins_hours),
            ("snapshot", self.metadata.snapshot_expire_hours, ceilings.snapshot_hours),
            ("timestamp", self.metadata.timestamp_expire_hours, ceilings.timestamp_hours),
        ):
            if hours > ceiling:
                raise ValueError(
                    f"metadata.{role}_expire_hours is {hours}, more than signing.expiry_ceilings.{role}_hours, "
                    f"which is {ceiling}: nothing would be signed"
                )

    def repository(self, name: str) -> RepositorySettings:
        """The repository of that name, which must be configured."""
        return next(repository for repository in self.repositories if repository.name == name)


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what}: '{name}' stands there twice")
        seen.add(name)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
