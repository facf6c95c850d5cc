"""Settings of signing: repositories, policy, key lines, the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from wharfinger_daemon.config.bucket import BucketSettings
from wharfinger_daemon.config.section import Name, Positive, Seconds, Section, Sha256


class RepositorySettings(Section):
    """A repository whose metadata may be signed. ``root_sha256`` pins its trusted root 1 and is its identity.

    Its metadata is in a directory, or in a bucket.
    """

    name: Name
    root_sha256: Sha256
    metadata_directory: Path | None = None
    bucket: BucketSettings | None = None

    @model_validator(mode="after")
    def _one_store(self) -> RepositorySettings:
        if (self.metadata_directory is None) == (self.bucket is None):
            raise ValueError("needs metadata_directory, or [repositories.bucket], and not both")
        return self


RolePattern = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class ExpiryCeilings(Section):
    """The farthest in the future that metadata may expire: of each type, and of some roles otherwise."""

    root_days: Positive = 400
    targets_days: Positive = 400
    bins_hours: Positive = 48
    snapshot_hours: Positive = 48
    timestamp_hours: Positive = 48
    roles_hours: dict[RolePattern, Positive] = Field(default_factory=dict)


class VersionJumps(Section):
    """Where versions may jump less far, or farther, than ``max_version_jump``: for a type, and for some roles."""

    root: Positive | None = None
    targets: Positive | None = None
    bins: Positive | None = None
    snapshot: Positive | None = None
    timestamp: Positive | None = None
    roles: dict[RolePattern, Positive] = Field(default_factory=dict)


class SigningSettings(Section):
    """What is signed, beyond what the specification demands."""

    max_batch: Positive = 256
    max_version_jump: Positive = 1000
    version_jumps: VersionJumps = VersionJumps()
    expiry_ceilings: ExpiryCeilings = ExpiryCeilings()


class KeyLineSettings(Section):
    """The successive keys of one purpose: at any moment one of them is active and signs the roles of the line."""

    name: Name
    repository: Name
    roles: Annotated[tuple[str, ...], Field(min_length=1)]
    algorithm: Literal["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-pss-2048", "rsa-pss-3072", "rsa-pss-4096"] = (
        "ecdsa-p256"
    )


class AuditSettings(Section):
    """The log of signatures and administrative acts."""

    origin: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,126}$")] = "wharfinger"
    key_label: str = "log"
    checkpoint_seconds: Seconds = 1
    previous_vkeys: tuple[str, ...] = ()
