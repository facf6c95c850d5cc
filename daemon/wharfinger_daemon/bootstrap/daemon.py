"""Opens the whole daemon, in order: database, jobs, servers, health."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import grpc.aio

from wharfinger.metadata.v1 import metadata_pb2_grpc
from wharfinger.scan.v1 import scan_pb2_grpc
from wharfinger.signing.v1 import signing_pb2_grpc
from wharfinger_daemon.bootstrap.audit import AuditJob, audit_service, open_audit
from wharfinger_daemon.bootstrap.caches import Caches, open_caches
from wharfinger_daemon.bootstrap.following import METADATA, Following, open_queue
from wharfinger_daemon.bootstrap.keys import key_admin_service, key_service, open_keys
from wharfinger_daemon.bootstrap.metadata import MetadataJob, import_authorities, open_imports, open_metadata
from wharfinger_daemon.bootstrap.review import ReviewPages, StoredCondition, open_review
from wharfinger_daemon.bootstrap.scanning import ScanJob, open_scanning
from wharfinger_daemon.bootstrap.servers import GrpcServers, open_grpc, open_http
from wharfinger_daemon.bootstrap.signing import SigningJob, open_signing
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import Job, Settings
from wharfinger_daemon.custody.observing import MetricsObserver
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.health import HealthWatch, Probe
from wharfinger_daemon.http.review.oversight import MetadataCondition, Oversight
from wharfinger_daemon.keys.administration import KeyAdministration
from wharfinger_daemon.metadata.feed import PublicationFeed
from wharfinger_daemon.metadata.observer import Announcing
from wharfinger_daemon.rpc.metadata import MetadataServicer
from wharfinger_daemon.rpc.scan import ScanServicer
from wharfinger_daemon.rpc.server import Service
from wharfinger_daemon.rpc.signing import SigningServicer
from wharfinger_daemon.scanning.service import ScanService
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.revision import require_current
from wharfinger_daemon.telemetry import Metrics

SIGNING = "wharfinger.signing.v1.SigningService"
SCAN = "wharfinger.scan.v1.ScanService"


@dataclass
class _Offered:
    """The services of the jobs that are open, each with the probe of its health if it has one of its own."""

    services: list[Service] = field(default_factory=list)
    administrative: list[Service] = field(default_factory=list)
    probes: dict[str, Probe] = field(default_factory=dict)
    oversight: Oversight = field(default_factory=Oversight)

    def add(self, name: str, add_to: Callable[[grpc.aio.Server], None], probe: Probe) -> None:
        self.services.append(Service(name, add_to))
        self.probes[name] = probe

    def see(self, **parts: Any) -> None:
        """Has the review pages tell of more."""
        self.oversight = replace(self.oversight, **parts)


class Daemon:
    """The running daemon, seen from its lifecycle."""

    def __init__(
        self,
        servers: GrpcServers,
        health: HealthWatch,
        scans: ScanService | None,
        feed: PublicationFeed | None,
        fenced: asyncio.Event,
        review: ReviewPages,
    ) -> None:
        self._feed = feed
        self._servers = servers
        self._health = health
        self._scans = scans
        self._fenced = fenced
        self._review = review

    def show_sign_in_link(self) -> None:
        """Shows how to sign in to the review pages on the terminal, in a development daemon."""
        if self._review.links is not None:
            self._review.links.show()

    async def watch_health(self) -> None:
        """Probes the services until cancelled."""
        await self._health.run()

    async def watch_place(self) -> None:
        """Waits until another process signs in the place of this one.

        Raises:
            UnavailableError: FENCED; it does.
        """
        await self._fenced.wait()
        raise UnavailableError(
            "Another process signs with this database by now, so this one ends. It had been paused, or cut off from "
            "the database, for too long.",
            reason=Reason.FENCED,
        )

    async def drain(self, seconds: float) -> None:
        """Refuses new calls, and waits for calls and then scans that run, for that long in all."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        await self._health.stop_serving()
        self._servers.room.drain()
        if self._feed is not None:
            self._feed.close()
        with contextlib.suppress(TimeoutError):  # What still runs is cut off when the servers close.
            async with asyncio.timeout_at(deadline):
                await self._servers.room.idle()
        if self._scans is not None:
            await self._scans.close(max(0.0, deadline - loop.time()))


async def open_daemon(settings: Settings, clock: Clock, metrics: Metrics, stack: AsyncExitStack) -> Daemon:
    """Opens everything that the configuration asks for; serving when this returns.

    Raises:
        StartupError: something does not fit. What was opened is closed with the stack.
    """
    database = Database.of(settings.database)
    stack.callback(database.close)
    require_current(database)
    offered = _Offered()
    metadata, caches, fenced, journal = None, Caches(), asyncio.Event(), None
    if Job.SIGN in settings.jobs:
        signing = await open_signing(settings, database, clock, metrics, stack, Following(settings, database, metrics))
        fenced, journal = signing.fenced, signing.journal
        _offer_signing(offered, signing, metrics, clock)
        audit = await open_audit(settings, database, signing, clock, metrics, stack)
        _offer_audit(offered, audit)
        administration = await open_keys(settings, database, signing, clock)
        authorities = import_authorities(settings, signing, administration, clock)
        if Job.METADATA in settings.jobs:
            assert settings.metadata is not None  # The configuration demands it of a process that publishes.
            authority = authorities[settings.metadata.repository]
            caches = await open_caches(settings.caches, metrics, stack)
            observer = Announcing(MetricsObserver(metrics), caches.invalidations)
            metadata = await open_metadata(settings, database, signing, clock, observer, stack, authority)
            if settings.database.standby:
                configured = settings.repository(metadata.repository)
                open_queue(configured, database, signing.journal, metadata, clock, stack)
            _offer_metadata(offered, metadata, StoredCondition(settings, database, signing.journal, clock))
        imports = open_imports(authorities, signing.journal, metadata, clock)
        _offer_keys(offered, administration, key_admin_service(administration, imports, signing.suspensions))
    scanning = None
    if Job.SCAN in settings.jobs:
        scanning = await open_scanning(settings, database, clock, metrics, stack)
        _offer_scanning(offered, scanning)
    servers = await open_grpc(settings, offered.services, offered.administrative, metrics, stack)
    interval = 5.0 if settings.hsm is None else settings.hsm.canary_interval_seconds
    health = HealthWatch(offered.probes, servers.reports, interval, caches.notes)
    review = open_review(settings, database, journal, offered.oversight, clock)
    reader = None if metadata is None else metadata.reader
    await open_http(settings, reader, health, metrics, review.routes, stack)
    await health.probe_all()
    scans = None if scanning is None else scanning.service
    return Daemon(servers, health, scans, None if metadata is None else metadata.feed, fenced, review)


def _offer_signing(offered: _Offered, job: SigningJob, metrics: Metrics, clock: Clock) -> None:
    servicer = SigningServicer(job.service)

    async def probe() -> None:
        metrics.hsm_workers.set(job.supervisor.healthy_workers)
        metrics.hsm_restarts.set(job.supervisor.restarts)
        await job.canary.sing()
        metrics.canary_success.set(clock.now().timestamp())

    offered.add(SIGNING, lambda server: signing_pb2_grpc.add_SigningServiceServicer_to_server(servicer, server), probe)


def _offer_audit(offered: _Offered, job: AuditJob) -> None:
    service = audit_service(job)

    async def probe() -> None:
        if job.checkpointer.problem is not None:
            raise UnavailableError(job.checkpointer.problem, reason=Reason.CHECKPOINT_PENDING)

    offered.add(service.name, service.add_to, probe)
    offered.administrative.append(service)
    offered.see(audit=job.log)


def _offer_keys(offered: _Offered, administration: KeyAdministration, administrative: Service) -> None:
    reading = key_service(administration)
    offered.services.append(reading)
    offered.administrative += [reading, administrative]
    offered.see(keys=administration)


def _offer_metadata(offered: _Offered, job: MetadataJob, condition: MetadataCondition) -> None:
    offered.see(metadata=condition)
    servicer = MetadataServicer(job.repository, job.publisher, job.reader, job.feed)

    async def probe() -> None:
        if job.publisher.problem is not None:
            raise UnavailableError(job.publisher.problem, reason=Reason.PUBLICATION_FAILED)

    offered.add(
        METADATA, lambda server: metadata_pb2_grpc.add_MetadataServiceServicer_to_server(servicer, server), probe
    )


def _offer_scanning(offered: _Offered, job: ScanJob) -> None:
    servicer = ScanServicer(job.service)
    hello = job.sandbox.hello
    offered.see(rule_set=hello.rule_set, load_failures=[(one.name, one.why) for one in hello.load_failures])

    async def probe() -> None:
        if job.sandbox.problem is not None:
            raise UnavailableError(job.sandbox.problem, reason=Reason.SANDBOX_UNAVAILABLE)

    offered.add(SCAN, lambda server: scan_pb2_grpc.add_ScanServiceServicer_to_server(servicer, server), probe)
