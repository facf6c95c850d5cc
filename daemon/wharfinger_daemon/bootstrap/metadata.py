"""Opens the metadata job: the publisher and what reads the published metadata."""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import timedelta

from wharfinger_daemon.bootstrap.signing import SigningJob, open_signing
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import MetadataSettings, Settings
from wharfinger_daemon.custody.publication_signer import PublicationSigner
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.keys.importing import MetadataImport
from wharfinger_daemon.keys.importing_authority import (
    ImportAuthority,
    ImportingRepository,
    KeySuccession,
    NoSuccession,
)
from wharfinger_daemon.metadata.feed import PublicationFeed
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.observer import Announcing, PublicationObserver, SilentObserver
from wharfinger_daemon.metadata.planning import Lifetimes
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.metadata.publisher import Publisher, PublisherSettings
from wharfinger_daemon.metadata.reading import MetadataReader
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.retention import Retention, RetentionSettings, Sweeper
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.import_log import JournalImportLog
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.publication_history import SqlPublicationHistory
from wharfinger_daemon.storage.publications import SqlPublications
from wharfinger_daemon.telemetry import Metrics

# Of one batch of bins, or the snapshot, or the timestamp. Whatever takes longer is tried again.
_SIGNING_SECONDS = 30.0
_STORE_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class MetadataJob:
    """What the rest of the daemon uses of publishing."""

    repository: str
    publisher: Publisher
    reader: MetadataReader
    feed: PublicationFeed


async def open_metadata(
    settings: Settings,
    database: Database,
    signing: SigningJob,
    clock: Clock,
    observer: PublicationObserver,
    stack: AsyncExitStack,
    authority: ImportAuthority,
) -> MetadataJob:
    """Finishes what a former process left, makes the first publication if there is none, and starts the publisher.

    Args:
        authority: of the repository that is published; from ``import_authorities``.
        observer: hears of every publication.

    Raises:
        StartupError: another publisher runs, or rows and files do not belong together.
    """
    assert settings.metadata is not None  # The configuration demands it of a process that publishes.
    configured = settings.repository(settings.metadata.repository)
    store = open_store(configured)
    history = SqlPublicationHistory(database, configured.root_sha256, signing.journal)
    feed = PublicationFeed(history)
    repository = Repository(
        offline=await read_offline_roles(await including_staged(store)),
        records=SqlPublications(database, configured.root_sha256, signing.journal),
        store=store,
        signer=PublicationSigner(signing.service, configured.name, timeout_seconds=_SIGNING_SECONDS),
        clock=clock,
        lifetimes=lifetimes(settings.metadata),
        observer=Announcing(observer, (feed,)),
    )
    checks = PublisherSettings(
        renewal_check_seconds=settings.metadata.renewal_check_seconds,
        # Whoever had the place of the signer before this process ends within seconds, or is paused.
        store_patience_seconds=_STORE_PATIENCE_SECONDS if settings.database.standby else 0,
    )
    retention = Retention(
        store,
        history,
        clock,
        retention_settings(settings.metadata),
        repository.observer,
    )
    publisher = Publisher(repository, checks, authority, Sweeper(retention))
    await publisher.start()
    stack.push_async_callback(publisher.close)
    signing.standing.watch(publisher.look_again)
    return MetadataJob(configured.name, publisher, MetadataReader(store, repository.offline.bins), feed)


def import_authorities(
    settings: Settings, signing: SigningJob, succession: KeySuccession, clock: Clock
) -> dict[str, ImportAuthority]:
    """For each repository, by name, what learns of new offline metadata in this process."""
    return {
        one.name: ImportAuthority(
            ImportingRepository(one.name, one.root_sha256, open_store(one)),
            signing.standing,
            signing.service,
            succession,
            clock,
        )
        for one in settings.repositories
    }


def open_imports(
    authorities: dict[str, ImportAuthority], journal: Journal, metadata: MetadataJob | None, clock: Clock
) -> MetadataImport:
    """What takes ceremonies' metadata in.

    Args:
        metadata: what this process publishes, if it does.
    """
    publishers = {} if metadata is None else {metadata.repository: metadata.publisher}
    return MetadataImport(authorities.values(), publishers, JournalImportLog(journal), clock)


async def publish_once(settings: Settings, clock: Clock, observer: PublicationObserver | None = None) -> None:
    """Finishes, makes and renews what a starting daemon would, and leaves nothing running.

    So it makes the first publication of a new repository, and publishes what was imported.

    Raises:
        StartupError: a daemon runs, or something does not fit.
        UnavailableError: PUBLICATION_FAILED; signing is suspended.
        WharfingerError: records, store or signer fail. The next start, or the same call, goes on.
    """
    with closing(Database.of(settings.database)) as database:
        async with AsyncExitStack() as stack:
            signing = await open_signing(settings, database, clock, Metrics(), stack)
            assert settings.metadata is not None  # The configuration demands it of a process that publishes.
            authority = import_authorities(settings, signing, NoSuccession(), clock)[settings.metadata.repository]
            job = await open_metadata(
                settings, database, signing, clock, observer or SilentObserver(), stack, authority
            )
            if job.publisher.problem is not None:
                raise UnavailableError(job.publisher.problem, reason=Reason.PUBLICATION_FAILED)


def retention_settings(metadata: MetadataSettings) -> RetentionSettings:
    """How long superseded files are kept."""
    return RetentionSettings(
        grace=timedelta(seconds=metadata.superseded_kept_seconds + metadata.cache_life_seconds),
        interval_seconds=metadata.sweep_interval_seconds,
    )


def lifetimes(metadata: MetadataSettings) -> Lifetimes:
    """How long online metadata holds."""
    return Lifetimes(
        bins=timedelta(hours=metadata.bins_expire_hours),
        snapshot=timedelta(hours=metadata.snapshot_expire_hours),
        timestamp=timedelta(hours=metadata.timestamp_expire_hours),
    )
