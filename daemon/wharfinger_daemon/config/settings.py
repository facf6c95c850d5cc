"""The typed tree of settings. ``deploy/wharfinger.toml`` is the manual of every key; a test keeps the two together.

Sections live by topic: ``servers``, ``hsm``, ``signing``; what remains, and how they fit together, is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, field_validator, model_validator

from wharfinger_daemon.config.caches import CachesSettings
from wharfinger_daemon.config.hsm import HsmSettings
from wharfinger_daemon.config.review import ReviewSettings
from wharfinger_daemon.config.section import Mebibytes, Name, Positive, Seconds, Section
from wharfinger_daemon.config.servers import AdministrationSettings, CallerSettings, GrpcSettings, HttpSettings
from wharfinger_daemon.config.signing import AuditSettings, KeyLineSettings, RepositorySettings, SigningSettings

POSTGRESQL = "postgresql+psycopg://"


class Job(StrEnum):
    """A job that one process can have."""

    SIGN = "sign"
    METADATA = "metadata"
    SCAN = "scan"


class DatabaseSettings(Section):
    """Where state, ledger and results are kept."""

    url: str = "sqlite:///wharfinger.db"
    password_file: Path | None = None
    statement_timeout_seconds: Seconds = 30
    standby: bool = False

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if value.startswith("sqlite:///") and value != "sqlite:///":
            return value
        if not value.startswith(POSTGRESQL):
            raise ValueError(f"must be sqlite:///PATH or {POSTGRESQL}USER@HOST/NAME")
        # Neither the message nor anything else may show what the URL holds.
        location = urlsplit(value)
        if location.password is not None or "password" in parse_qs(location.query):
            raise ValueError("must not hold the password; name its file in database.password_file")
        return value

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file, and not a server."""
        return not self.url.startswith(POSTGRESQL)

    @model_validator(mode="after")
    def _password_of_a_server(self) -> DatabaseSettings:
        if self.is_sqlite and self.password_file is not None:
            raise ValueError("password_file is for PostgreSQL; SQLite has no password")
        return self


class MetadataSettings(Section):
    """The repository that this daemon publishes."""

    repository: Name
    bins_expire_hours: Positive = 24
    snapshot_expire_hours: Positive = 24
    timestamp_expire_hours: Positive = 24
    renewal_check_seconds: Seconds = 60
    superseded_kept_seconds: Seconds = 3600
    cache_life_seconds: Seconds = 600
    sweep_interval_seconds: Seconds = 300


class ScanSettings(Section):
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


class LoggingSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(Section):
    """The whole configuration.

    Attributes:
        jobs: what this process does; the file says ``roles``.
        state_directory: where small marks are kept that must survive a restart.
    """

    jobs: tuple[Job, ...] = Field(default=tuple(Job), alias="roles", min_length=1)
    state_directory: Path = Path()
    grpc: GrpcSettings
    http: HttpSettings = HttpSettings()
    caches: CachesSettings = CachesSettings()
    administration: AdministrationSettings = AdministrationSettings()
    database: DatabaseSettings = DatabaseSettings()
    hsm: HsmSettings | None = None
    repositories: tuple[RepositorySettings, ...] = ()
    keys: tuple[KeyLineSettings, ...] = ()
    signing: SigningSettings = SigningSettings()
    audit: AuditSettings = AuditSettings()
    metadata: MetadataSettings | None = None
    scan: ScanSettings = ScanSettings()
    review: ReviewSettings = ReviewSettings()
    logging: LoggingSettings = LoggingSettings()
    callers: tuple[CallerSettings, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        _unique("repositories", (repository.name for repository in self.repositories))
        _unique("keys", (line.name for line in self.keys))
        for line in self.keys:
            if line.repository not in {repository.name for repository in self.repositories}:
                raise ValueError(f"keys: line '{line.name}' names '{line.repository}', which no [[repositories]] has")
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
