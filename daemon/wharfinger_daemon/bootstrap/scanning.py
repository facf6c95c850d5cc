"""Opens the scanning job: sandboxed workers, results, and where artifacts are read from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import ScanSettings, Settings
from wharfinger_daemon.custody.observing import MetricsObserver
from wharfinger_daemon.sandbox.layers import Layer
from wharfinger_daemon.sandbox.pool import SandboxPool
from wharfinger_daemon.sandbox.settings import SandboxSettings
from wharfinger_daemon.scanning.archives.limits import ArchiveLimits
from wharfinger_daemon.scanning.engine import EngineLimits
from wharfinger_daemon.scanning.run import ScanPolicy
from wharfinger_daemon.scanning.service import ScanService
from wharfinger_daemon.storage.artifact_sources import ArtifactRoots, ArtifactSources
from wharfinger_daemon.storage.artifact_urls import ArtifactUrls
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.scans import SqlScanRecords
from wharfinger_daemon.telemetry import Metrics

log = structlog.get_logger()

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ScanJob:
    """What the rest of the daemon uses of scanning."""

    service: ScanService
    sandbox: SandboxPool


async def open_scanning(
    settings: Settings, database: Database, clock: Clock, metrics: Metrics, stack: AsyncExitStack
) -> ScanJob:
    """Starts the sandboxed workers, and takes up scans that a former process left.

    Raises:
        StartupError: the kernel lacks a layer of the sandbox that the configuration requires.
    """
    scan = settings.scan
    sandbox = await stack.enter_async_context(open_sandbox(scan))
    artifact_bytes = scan.artifact_max_mib * _MEBIBYTE
    service = ScanService(
        SqlScanRecords(database),
        sandbox,
        ArtifactSources(ArtifactRoots(scan.artifact_roots), ArtifactUrls(scan.allowed_hosts)),
        clock,
        ScanPolicy(artifact_bytes=artifact_bytes, concurrent=scan.workers, waiting=scan.max_waiting),
        MetricsObserver(metrics).scanned,
    )
    await service.start()
    # For a start that fails; a daemon that was ready has drained before.
    stack.push_async_callback(service.close, 0.0)
    return ScanJob(service, sandbox)


@asynccontextmanager
async def open_sandbox(scan: ScanSettings) -> AsyncIterator[SandboxPool]:
    """The sandboxed workers, for as long as the context lasts."""
    pool = SandboxPool(_sandbox_settings(scan))
    try:
        await pool.start()
        for layer, why in pool.hello.missing.items():
            log.warning("the sandbox lacks a layer", layer=layer, why=why)
        for failure in pool.hello.load_failures:
            log.error("a check does not load, and is not used", check=failure.name, why=failure.why)
        yield pool
    finally:
        await pool.close()


def _sandbox_settings(scan: ScanSettings) -> SandboxSettings:
    required = set(SandboxSettings().required_layers)
    if not scan.require_seccomp:
        required.discard(Layer.SECCOMP)
    if not scan.require_landlock:
        required.discard(Layer.LANDLOCK)
    return SandboxSettings(
        workers=scan.workers,
        job_seconds=scan.scan_timeout_seconds,
        memory_bytes=scan.worker_memory_mib * _MEBIBYTE,
        required_layers=frozenset(required),
        limits=EngineLimits(
            archive=ArchiveLimits(
                total_bytes=scan.unpacked_max_mib * _MEBIBYTE, member_bytes=scan.member_max_mib * _MEBIBYTE
            ),
            check_seconds=scan.check_timeout_seconds,
        ),
    )
