"""The life of the daemon: start in order, say so, serve until told to stop, drain, stop in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections.abc import Callable

import structlog

from wharfinger_daemon.bootstrap import Daemon, open_daemon
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.telemetry import Metrics, configure_logging

log = structlog.get_logger()

_PR_SET_DUMPABLE = 4


def run(settings: Settings) -> None:
    """Runs the daemon until SIGTERM or SIGINT.

    Raises:
        StartupError: it could not start; nothing of it runs any more.
    """
    configure_logging(level=settings.logging.level, json=settings.logging.format == "json")
    _forbid_core_dumps()
    asyncio.run(serve(settings, announce=_print_ready))


async def serve(settings: Settings, *, announce: Callable[[Settings], None]) -> None:
    """Starts everything, announces that it is ready, and serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        daemon = await open_daemon(settings, SystemClock(), Metrics(), stack)
        announce(settings)
        log.info("ready", jobs=[job.value for job in settings.jobs], **_addresses(settings))
        await _until_stopped(stop, daemon)
        log.info("draining", seconds=settings.grpc.drain_seconds)
        await daemon.drain(settings.grpc.drain_seconds)
    log.info("stopped")


async def _until_stopped(stop: asyncio.Event, daemon: Daemon) -> None:
    watching = asyncio.create_task(daemon.watch_health())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching  # It ends only by an error that nobody foresaw.
    finally:
        for task in (watching, stopping):
            task.cancel()
        await asyncio.gather(watching, stopping, return_exceptions=True)


def _addresses(settings: Settings) -> dict[str, str]:
    return {
        "grpc": settings.grpc.address,
        "http": settings.http.address,
        "administration_grpc": settings.administration.grpc_address,
        "administration_http": settings.administration.http_address,
    }


def _print_ready(settings: Settings) -> None:
    addresses = _addresses(settings)
    sys.stdout.write(
        f"wharfinger is ready: gRPC {addresses['grpc']}, HTTP {addresses['http']}, "
        f"administration gRPC {addresses['administration_grpc']} and HTTP {addresses['administration_http']}\n"
    )
    sys.stdout.flush()


def _forbid_core_dumps() -> None:
    # Neither a core dump nor another process of this user may read the TLS key from memory.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
