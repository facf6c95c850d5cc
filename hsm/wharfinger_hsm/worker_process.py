"""One worker process, seen from the supervisor."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from wharfinger_hsm.errors import error_from_wire
from wharfinger_hsm.messages import (
    LENGTH,
    Attributes,
    Destroy,
    Destroyed,
    Failed,
    Generate,
    Keys,
    ListKeys,
    ProtocolError,
    ReadAttributes,
    Ready,
    Reply,
    Request,
    Sign,
    Signed,
    Start,
    checked_length,
    frame,
    read_reply,
)
from wharfinger_hsm.model import KeySource

# Isolated: neither the environment nor the current directory can change what the worker imports.
WORKER_COMMAND: tuple[str, ...] = (sys.executable, "-I", "-m", "wharfinger_hsm.worker")

_MINIMAL_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

_REAP_SECONDS = 20.0


class WorkerLostError(Exception):
    """The worker ended, or spoke nonsense. What it was asked may have happened or not."""


class WorkerProcess:
    """A worker that is logged in. It has one request at a time; after `WorkerLostError` it can only be killed."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.ended: asyncio.Task[int] = asyncio.ensure_future(process.wait())
        """Done when the process is. Wait for it with `asyncio.wait`, which does not cancel it."""
        self.condemned: str | None = None
        """Why it was told to end, though it answered."""

    @classmethod
    async def launch(cls, command: Sequence[str], settings: KeySource) -> Self:
        """Starts a process and waits until it is logged in; the caller sets the deadline by cancelling.

        Raises the worker's own `HsmError`, or `WorkerLostError` when it ends or speaks nonsense first.
        """
        creation = asyncio.ensure_future(_create(command, settings))
        try:
            await asyncio.wait({creation})
        except asyncio.CancelledError:
            # asyncio would kill the process alone; what that has started by then would live on and hold the pipes.
            await asyncio.wait({creation})
            if creation.exception() is None:
                await cls(creation.result()).kill()
            raise
        try:
            process = creation.result()
        except OSError as error:
            raise WorkerLostError(f"The worker could not be started: {error.strerror}.") from error
        worker = cls(process)
        try:
            await worker._log_in(settings)
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def process_id(self) -> int:
        return self._process.pid

    async def call(self, request: Request) -> Reply:
        """Sends a request and waits for the reply that belongs to it, or `Failed`. Raises `WorkerLostError`."""
        reply = await self._exchange(frame(request))
        if not _answers(request, reply):
            raise WorkerLostError("The worker answered something that was not asked.")
        return reply

    def condemn(self, why: str) -> None:
        """Has the process end at once, for what it did in an earlier call; the next call, or this one, is lost."""
        if not self.ended.done():  # Afterwards the process id may be another's.
            self.condemned = why
            self._signal_kill()

    async def kill(self) -> None:
        """Ends the process now, and what its module started. A call that hangs in a module leaves no other way."""
        self._signal_kill()
        await self._reap()

    async def stop(self, grace_seconds: float) -> None:
        """Lets the worker log out and end by closing its standard input, then kills it."""
        self._stdin.close()
        await asyncio.wait({self.ended}, timeout=grace_seconds)
        await self.kill()

    def _signal_kill(self) -> None:
        # The worker leads a group of its own. Not Process.kill(), which can take the exit status away from asyncio.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _log_in(self, settings: KeySource) -> None:
        match await self._exchange(frame(Start.of(settings, os.getpid()))):
            case Ready():
                return
            case Failed(_, error, message):
                raise error_from_wire(error, message)
            case _:
                raise WorkerLostError("The worker answered something that was not asked.")

    async def _exchange(self, request: bytes) -> Reply:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            self._stdin.write(request)
            await self._stdin.drain()
            prefix = await stdout.readexactly(LENGTH.size)
            body = await stdout.readexactly(checked_length(LENGTH.unpack(prefix)[0]))
            return read_reply(body)
        except ProtocolError as error:
            raise WorkerLostError(f"The worker broke the protocol: {error}") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerLostError("The worker ended.") from error

    async def _reap(self) -> None:
        """Waits for the end of a process that was killed, and closes both pipes."""
        stdout = self._process.stdout
        assert stdout is not None
        self._stdin.close()
        # The limit is for a child that left the group and holds the pipes. It is not wait_for(), which before Python
        # 3.12 can lose a cancellation: a slot would go on after its end.
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_REAP_SECONDS):
                # First, because asyncio does not report the end of a process while its output waits to be read.
                await stdout.read()
                await asyncio.wait({self.ended})
                await self._stdin.wait_closed()
        self.ended.cancel()

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None
        return self._process.stdin


async def _create(command: Sequence[str], settings: KeySource) -> Process:
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        env=_MINIMAL_ENVIRONMENT | dict(settings.environment),
        # A group of its own, out of the terminal's reach: Ctrl-C is the daemon's to handle.
        start_new_session=True,
    )


def _answers(request: Request, reply: Reply) -> bool:
    if isinstance(reply, Ready) or reply.number != request.number:
        return False
    match request, reply:
        case _, Failed():
            return True
        case Sign(_, items), Signed(_, signatures):
            return len(items) == len(signatures)
        case Generate(), Keys(_, keys):
            return len(keys) == 1
        case (ListKeys(), Keys()) | (ReadAttributes(), Attributes()) | (Destroy(), Destroyed()):
            return True
    return False
