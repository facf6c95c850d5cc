"""Takes metadata in for a command on the signing host, without a daemon."""

from __future__ import annotations

from collections.abc import Sequence

from wharfinger_daemon.bootstrap.local_keys import LocalKeys, open_local_keys
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.keys.importing import ImportedFile, ImportOutcome, ImportRequest
from wharfinger_daemon.keys.importing_authority import ImportAuthority, ImportingRepository
from wharfinger_daemon.keys.importing_local import AbsentSigner, stage_import
from wharfinger_daemon.keys.importing_rules import parse_files
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.storage.import_log import JournalImportLog
from wharfinger_daemon.storage.publications import SqlPublications

LOCAL = "local"


async def import_locally(
    settings: Settings, clock: Clock, repository: str, files: Sequence[ImportedFile], *, revoke: bool, dry_run: bool
) -> ImportOutcome:
    """Verifies and stages metadata for the next start of the daemon; the token is not asked.

    Raises:
        StartupError: a daemon runs (PUBLISHER_RUNNING), or database or metadata cannot be opened.
        InvalidRequestError: the repository is not published on this host.
        WharfingerError: as from ``MetadataImport.take``.
    """
    if settings.metadata is None or settings.metadata.repository != repository:
        raise InvalidRequestError(
            f"Repository '{repository}' is not published by this configuration. Put the files into its metadata "
            "directory; a daemon reads them when it starts.",
            reason=Reason.UNKNOWN_REPOSITORY,
        )
    async with open_local_keys(settings, clock, token=False, alone=True) as local:
        configured = settings.repository(repository)
        store = open_store(configured)
        opened = Repository(
            offline=await read_offline_roles(await including_staged(store)),
            records=SqlPublications(local.database, configured.root_sha256, local.journal),
            store=store,
            signer=AbsentSigner(),
            clock=clock,
        )
        importing = ImportingRepository(repository, configured.root_sha256, store)
        request = ImportRequest(
            _authority(importing, local, clock),
            parse_files(files),
            LOCAL,
            revoke,
            dry_run,
            JournalImportLog(local.journal),
            clock,
        )
        return await stage_import(request, opened)


def _authority(importing: ImportingRepository, local: LocalKeys, clock: Clock) -> ImportAuthority:
    return ImportAuthority(importing, local.standing, None, local.administration, clock)
