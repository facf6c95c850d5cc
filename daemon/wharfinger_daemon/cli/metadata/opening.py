"""What the commands on published metadata have in common: records and store of the repository, opened directly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.local_targets import published_here
from wharfinger_daemon.bootstrap.metadata import retention_settings
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.cli.program import configuration_file
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.config import MetadataSettings, Settings
from wharfinger_daemon.metadata.observer import SilentObserver
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.metadata.retention import Retention
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.publication_history import SqlPublicationHistory
from wharfinger_daemon.storage.publications import SqlPublications
from wharfinger_daemon.storage.revision import require_current


@dataclass(frozen=True)
class OpenedRepository:
    """The repository that a configuration publishes."""

    published: MetadataSettings
    records: SqlPublications
    store: MetadataStore
    retention: Retention


def publishing_settings(config_path: Path | None) -> tuple[Settings, MetadataSettings]:
    """A configuration that publishes a repository, and how.

    Raises:
        StartupError: CONFIGURATION_INVALID; it publishes none.
    """
    settings = config.load(configuration_file(config_path))
    published_here(settings)
    assert settings.metadata is not None
    return settings, settings.metadata


@contextmanager
def opened_repository(config_path: Path | None) -> Iterator[OpenedRepository]:
    """Opens records and store. Nothing is locked.

    Raises:
        StartupError: the configuration or the database is not as it should be.
    """
    settings, published = publishing_settings(config_path)
    configured = settings.repository(published.repository)
    with closing(Database.of(settings.database)) as database:
        require_current(database)
        store = open_store(configured)
        history = SqlPublicationHistory(database, configured.root_sha256)
        retention = Retention(store, history, SystemClock(), retention_settings(published), SilentObserver())
        yield OpenedRepository(published, SqlPublications(database, configured.root_sha256), store, retention)
