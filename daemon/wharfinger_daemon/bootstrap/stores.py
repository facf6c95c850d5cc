"""Which store holds the metadata of a repository: the one place that chooses, for the daemon and for every command."""

from __future__ import annotations

from pathlib import Path

from wharfinger_daemon.config import RepositorySettings
from wharfinger_daemon.config.bucket import BucketSettings
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory


def open_store(repository: RepositorySettings) -> MetadataStore:
    """The store of a repository. Nothing is made, locked or read: what is not there fails when it is first used.

    Raises:
        StartupError: CONFIGURATION_INVALID; a file with a key of the bucket cannot be read.
    """
    if repository.bucket is not None:
        return _bucket(repository.bucket)
    assert repository.metadata_directory is not None  # The configuration demands one of the two.
    return MetadataDirectory(repository.metadata_directory)


def _bucket(settings: BucketSettings) -> MetadataStore:
    # Its library is an optional one, and takes a quarter of a second to import.
    try:
        from wharfinger_daemon.storage.bucket_objects import Bucket
        from wharfinger_daemon.storage.metadata_bucket import MetadataBucket
    except ImportError as error:
        raise StartupError(
            f"The bucket '{settings.name}' needs boto3, which is not installed. Install wharfinger with the extra s3.",
            reason=Reason.CONFIGURATION_INVALID,
        ) from error

    return MetadataBucket(
        Bucket(
            name=settings.name,
            endpoint_url=settings.endpoint_url,
            region=settings.region,
            access_key=_secret(settings.access_key_file),
            secret_key=_secret(settings.secret_key_file),
            prefix=settings.prefix,
            path_style=settings.path_style,
            ca_file=None if settings.ca_file is None else str(settings.ca_file),
            timeout_seconds=settings.timeout_seconds,
            beat_seconds=settings.beat_seconds,
        )
    )


def _secret(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(
            f"{file} cannot be read ({getattr(error, 'strerror', None) or 'it is not text'}). It holds a key of the "
            "bucket: correct [repositories.bucket], or the permissions.",
            reason=Reason.CONFIGURATION_INVALID,
        ) from error
