"""The daemon's own parts that publish, in this process: rows, the signing service with its HSM worker, the store."""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.signing import open_signing
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.config import RepositorySettings
from wharfinger_daemon.custody.publication_signer import PublicationSigner
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.publications import SqlPublications
from wharfinger_daemon.telemetry import Metrics


@dataclass(frozen=True)
class Opened:
    """A repository, and how it is configured."""

    repository: Repository
    configured: RepositorySettings


async def open_repository(home: Path, stack: AsyncExitStack) -> Opened:
    """Opens what a home publishes, until the stack ends."""
    settings, clock = config.load(home / "config.toml"), SystemClock()
    assert settings.metadata is not None
    configured = settings.repository(settings.metadata.repository)
    database = stack.enter_context(closing(Database.of(settings.database)))
    signing = await open_signing(settings, database, clock, Metrics(), stack)
    store = open_store(configured)
    repository = Repository(
        await read_offline_roles(store),
        SqlPublications(database, configured.root_sha256, signing.journal),
        store,
        PublicationSigner(signing.service, configured.name, timeout_seconds=120),
        clock,
    )
    return Opened(repository, configured)
