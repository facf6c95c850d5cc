"""Writes targets in bulk and publishes them, for a command on the publishing host, without a daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wharfinger_daemon.bootstrap.local_keys import LocalKeys, open_local_keys
from wharfinger_daemon.bootstrap.metadata import publish_once
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import RepositorySettings, Settings
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.storage.publications import SqlPublications
from wharfinger_daemon.storage.target_rows import SqlTargetRows


@asynccontextmanager
async def open_target_rows(settings: Settings, clock: Clock) -> AsyncIterator[SqlTargetRows]:
    """The rows of the repository that is published here. As long as the block runs, nobody else publishes or signs.

    What a former process had begun is finished first, which needs the token: a prepared publication must not change any
    more, and while bins grow, a target may have its row in either bin.

    Raises:
        StartupError: a daemon runs (PUBLISHER_RUNNING), or something cannot be opened.
        WharfingerError: what was begun cannot be finished.
    """
    configured = published_here(settings)
    async with open_local_keys(settings, clock, token=False, alone=True) as local:
        begun = await _is_begun(local, configured)
    if begun:
        await publish_once(settings, clock)
    async with open_local_keys(settings, clock, token=False, alone=True) as local:
        if await _is_begun(local, configured):
            raise StartupError(
                "Another process has begun to publish in this moment. Stop it, and try again.",
                reason=Reason.PUBLISHER_RUNNING,
            )
        offline = await read_offline_roles(open_store(configured))
        yield SqlTargetRows(local.database, local.journal, configured.root_sha256, offline.bins.role_for)


def published_here(settings: Settings) -> RepositorySettings:
    """The repository that this configuration publishes.

    Raises:
        StartupError: CONFIGURATION_INVALID; it publishes none.
    """
    if settings.metadata is None:
        raise StartupError(
            "The configuration has no [metadata], so it publishes no repository. Name the configuration of the "
            "publishing host.",
            reason=Reason.CONFIGURATION_INVALID,
        )
    return settings.repository(settings.metadata.repository)


async def _is_begun(local: LocalKeys, configured: RepositorySettings) -> bool:
    newest = await SqlPublications(local.database, configured.root_sha256).newest()
    prepared = newest is not None and not newest.published
    return prepared or await open_store(configured).staged() is not None
