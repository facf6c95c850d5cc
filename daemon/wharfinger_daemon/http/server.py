"""Runs a Starlette application in the event loop that is there already."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from wharfinger_daemon.errors import Reason, StartupError


class _EmbeddedServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The daemon's lifecycle owns the signals.
        yield


class HttpServer:
    """An HTTP server on one address."""

    def __init__(self, app: Starlette, address: str) -> None:
        self._address = address
        self._server = _EmbeddedServer(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_keep_alive=30,
                limit_concurrency=1000,
                timeout_graceful_shutdown=10,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listens.

        Raises:
            StartupError: the address is taken or not ours.
        """
        listening = _listen(self._address)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Finishes what runs, then closes."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=1024)
    except OSError as error:
        raise StartupError(
            f"HTTP cannot listen on {address}: {error.strerror or error}. Free the address or configure another.",
            reason=Reason.ADDRESS_IN_USE,
        ) from error
