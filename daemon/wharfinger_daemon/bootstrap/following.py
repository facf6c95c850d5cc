"""What a daemon does while it stands by: it serves the published metadata, and puts changes into the queue.

And the other end of the queue, where the publisher is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from wharfinger.metadata.v1 import metadata_pb2_grpc
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2
from wharfinger_daemon.bootstrap.metadata import MetadataJob
from wharfinger_daemon.bootstrap.servers import open_grpc, open_http
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import Job, RepositorySettings, Settings
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.health import HealthWatch
from wharfinger_daemon.metadata.feed import PublicationFeed
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.metadata.queue import QueuedPublishing, QueueDrain
from wharfinger_daemon.metadata.reading import MetadataReader
from wharfinger_daemon.rpc.metadata import MetadataServicer
from wharfinger_daemon.rpc.server import Service
from wharfinger_daemon.rpc.standing_by import standing_by
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.publication_history import SqlPublicationHistory
from wharfinger_daemon.storage.queued_changes import SqlChangeQueue
from wharfinger_daemon.telemetry import Metrics

log = structlog.get_logger()

METADATA = "wharfinger.metadata.v1.MetadataService"
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Following:
    """Opens what a daemon offers while it stands by."""

    settings: Settings
    database: Database
    metrics: Metrics

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Serves as long as the block runs. Where nothing can be served yet, it waits without."""
        async with AsyncExitStack() as stack:
            if Job.METADATA in self.settings.jobs:
                try:
                    await self._open(stack)
                except WharfingerError as error:
                    log.warning("nothing is served while standing by", reason=error.reason, message=error.message)
                    await stack.aclose()
            yield

    async def _open(self, stack: AsyncExitStack) -> None:
        assert self.settings.metadata is not None  # The configuration demands it of a process that publishes.
        configured = self.settings.repository(self.settings.metadata.repository)
        store = open_store(configured)
        offline = await read_offline_roles(await including_staged(store))
        reader = MetadataReader(store, offline.bins)
        history = SqlPublicationHistory(self.database, configured.root_sha256)
        feed = PublicationFeed(history)
        queue = SqlChangeQueue(self.database, configured.root_sha256)
        servicer = MetadataServicer(configured.name, QueuedPublishing(queue), reader, feed)
        services = [
            Service(METADATA, lambda server: metadata_pb2_grpc.add_MetadataServiceServicer_to_server(servicer, server)),
            *map(standing_by, self._elsewhere()),
        ]

        async def probe() -> None:
            await history.last_shown()

        servers = await open_grpc(self.settings, services, [], self.metrics, stack)
        health = HealthWatch({METADATA: probe}, servers.reports, _LOOK_SECONDS, lambda: ("This daemon stands by.",))
        await open_http(self.settings, reader, health, self.metrics, [], stack)
        await health.probe_all()
        stack.push_async_callback(_leave, health, feed)
        stack.push_async_callback(_cancelled, asyncio.create_task(health.run()))
        stack.push_async_callback(_cancelled, asyncio.create_task(_watch(history, feed)))
        log.info("serves while standing by", grpc=self.settings.grpc.address, http=self.settings.http.address)

    def _elsewhere(self) -> list[Any]:
        signing, scan = signing_pb2.DESCRIPTOR, scan_pb2.DESCRIPTOR
        services = [signing.services_by_name["SigningService"]]
        return [*services, scan.services_by_name["ScanService"]] if Job.SCAN in self.settings.jobs else services


def open_queue(
    configured: RepositorySettings,
    database: Database,
    journal: Journal,
    job: MetadataJob,
    clock: Clock,
    stack: AsyncExitStack,
) -> None:
    """Publishes what others put into the queue, until the stack closes."""
    queue = SqlChangeQueue(database, configured.root_sha256, journal)
    drain = asyncio.create_task(QueueDrain(queue, job.publisher, clock).run(), name="queue of changes")
    stack.push_async_callback(_cancelled, drain)


async def _watch(history: SqlPublicationHistory, feed: PublicationFeed) -> None:
    """Wakes the feed when another daemon has published."""
    known = 0
    while True:
        with suppress(WharfingerError):  # The database may be there again at the next look.
            newest = await history.last_shown()
            if newest > known:
                known = newest
                feed.wake()
        await asyncio.sleep(_LOOK_SECONDS)


async def _leave(health: HealthWatch, feed: PublicationFeed) -> None:
    await health.stop_serving()
    feed.close()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
