"""Runs a Starlette application in the event loop that is there already."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from wharfinger_daemon.errors import Reason, StartupError

# The whole of one answer, from the head of its request on. A snapshot of 27 MB is taken at 90 KB/s or not at all.
_ANSWER_SECONDS = 300.0


class _EmbeddedServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The daemon's lifecycle owns the signals.
        yield


class _ImpatientProtocol(H11Protocol):
    """Closes a connection on which no whole head of a request comes in time, however slowly bytes trickle in; and one
    whose client does not take its answer.

    Uvicorn itself has such a limit only between requests, and only until the first byte. Without these, a thousand
    silent connections would keep everybody else out, and a few that never read would hold all memory for answers.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None
    _drain_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop("_head_timer")
            if self._answer_timer is None:
                self._answer_timer = self.loop.call_later(_ANSWER_SECONDS, self.transport.abort)

    def on_response_complete(self) -> None:
        self._stop("_answer_timer")
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        elif self._answer_timer is None:  # The next request had come already.
            self._answer_timer = self.loop.call_later(_ANSWER_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._drain_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop("_drain_timer")
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing waits until the client has taken what is left, which may be never.
        self._drain_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in ("_head_timer", "_answer_timer", "_drain_timer"):
            self._stop(timer)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop("_head_timer")
        self._head_timer = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop(self, name: str) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)


class HttpServer:
    """An HTTP server on one address.

    Args:
        patience_seconds: how long a connection may stay without a whole request, or without taking the next 50 KB of
            its answer.
    """

    def __init__(self, app: Starlette, address: str, patience_seconds: int = 30) -> None:
        self._address = address
        self._server = _EmbeddedServer(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_keep_alive=patience_seconds,
                http=_ImpatientProtocol,
                limit_concurrency=1000,
                timeout_graceful_shutdown=10,
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where it listens: HOST:PORT."""
        return self._address

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
