"""Settings of object storage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from wharfinger_daemon.config.section import Seconds, Section

BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9._-]+/)*$", max_length=256)]


class BucketSettings(Section):
    """A bucket of S3-compatible object storage that holds the metadata of a repository."""

    name: BucketName
    access_key_file: Path
    secret_key_file: Path
    endpoint_url: str | None = None
    region: str = "us-east-1"
    prefix: Prefix = ""
    path_style: bool = True
    ca_file: Path | None = None
    timeout_seconds: Seconds = 10
    beat_seconds: Annotated[float, Field(ge=0.1, le=60)] = 2

    @field_validator("endpoint_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must be a URL such as https://storage.example.com")
        return value

    def files(self) -> list[tuple[str, Path]]:
        """The files that it names, by key."""
        named = [("access_key_file", self.access_key_file), ("secret_key_file", self.secret_key_file)]
        return named if self.ca_file is None else [*named, ("ca_file", self.ca_file)]
