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
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings) -> None:
    """Runs the daemon until SIGTERM or SIGINT.

    Raises:
        StartupError: it could not start; nothing of it runs any more.
    """
    configure_logging(level=settings.logging.level, json=settings.logging.format == "json")
    _forbid_core_dumps()
    asyncio.run(serve(settings, announce=_print_ready))


async def serve(settings: Settings, *, announce: Callable[[Settings], None]) -> None:
    """Starts everything, announces that it is ready, and serves until SIGTERM or SIGINT.

    A signal that comes before that ends the start. A second one ends the process at once, as kill -9 would: nothing
    depends on an orderly end.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, _stop_once, loop, stop)
    async with contextlib.AsyncExitStack() as stack:
        daemon = await _opened(settings, stop, stack)
        if daemon is None:
            log.info("stopped before it was ready")
            return
        announce(settings)
        daemon.show_sign_in_link()
        log.info("ready", jobs=[job.value for job in settings.jobs], **_addresses(settings))
        await _until_stopped(stop, daemon)
        log.info("draining", seconds=settings.grpc.drain_seconds)
        await daemon.drain(settings.grpc.drain_seconds)
    log.info("stopped")


def _stop_once(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    stop.set()
    for number in _SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


async def _opened(settings: Settings, stop: asyncio.Event, stack: contextlib.AsyncExitStack) -> Daemon | None:
    """The daemon; None if it was told to stop before it was ready."""
    opening = asyncio.create_task(open_daemon(settings, SystemClock(), Metrics(), stack))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        opening.cancel()  # Does nothing if it is done.
        await asyncio.gather(opening, stopping, return_exceptions=True)
    return None if stop.is_set() else opening.result()


async def _until_stopped(stop: asyncio.Event, daemon: Daemon) -> None:
    watching: list[asyncio.Task[None]] = [
        asyncio.create_task(daemon.watch_health()),
        asyncio.create_task(daemon.watch_place()),
    ]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((*watching, stopping), return_when=asyncio.FIRST_COMPLETED)
        for watch in watching:
            if watch.done():
                await watch  # It ends only by an error: that it was fenced, or one that nobody foresaw.
    finally:
        stopping.cancel()
        for watch in watching:
            watch.cancel()
        await asyncio.gather(*watching, stopping, return_exceptions=True)


def _addresses(settings: Settings) -> dict[str, str]:
    return {
        "grpc": settings.grpc.address,
        "http": settings.http.address,
        "administration_grpc": settings.administration.grpc_address,
        "administration_http": settings.administration.http_address,
    }


def _print_ready(settings: Settings) -> None:
    addresses = _addresses(settings)
    # Whoever started the daemon may have stopped listening; that is no reason to end.
    with contextlib.suppress(OSError):
        _write_ready(addresses)


def _write_ready(addresses: dict[str, str]) -> None:
    sys.stdout.write(
        f"wharfinger is ready: gRPC {addresses['grpc']}, HTTP {addresses['http']}, "
        f"administration gRPC {addresses['administration_grpc']} and HTTP {addresses['administration_http']}\n"
    )
    sys.stdout.flush()


def _forbid_core_dumps() -> None:
    # Neither a core dump nor another process of this user may read the TLS key from memory.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
