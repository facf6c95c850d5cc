"""One worker as the daemon sees it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import sys

from wharfinger_daemon.sandbox import protocol
from wharfinger_daemon.sandbox.settings import SandboxSettings
from wharfinger_daemon.scanning.model import Examination, Subject

_REAP_SECONDS = 5.0
_DIAGNOSIS_BYTES = 2000


class WorkerStartError(Exception):
    """A worker does not start, or not as confined as it must be. Says nothing about any content."""


class JobFailedError(Exception):
    """A worker did not finish its job; it must not be used any more.

    Attributes:
        why: in kebab case, such as ``time-out``; a sentence if the content is not the cause.
        by_content: whether the content may be the cause.
    """

    def __init__(self, why: str, *, by_content: bool = True) -> None:
        super().__init__(why)
        self.why = why
        self.by_content = by_content


class WorkerProcess:
    """A process that is confined and waits for jobs. Make it with ``start``; end it with ``kill`` and ``reaped``."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket, hello: protocol.Hello) -> None:
        self._process = process
        self._channel = channel
        self.hello = hello
        self.jobs = 0

    @classmethod
    async def start(cls, settings: SandboxSettings) -> WorkerProcess:
        """Starts a process and waits until it is confined.

        Raises:
            WorkerStartError: it does not start, takes too long, or lacks a required layer.
        """
        ours, theirs = socket.socketpair()
        diagnosis = os.memfd_create("diagnosis")
        try:
            with theirs:
                ours.setblocking(False)
                process = await _executed(theirs, diagnosis)
            try:
                async with asyncio.timeout(settings.start_seconds):
                    hello = await _greeted(ours, settings)
            except BaseException as error:
                await _killed(process)
                if isinstance(error, (EOFError, TimeoutError, protocol.ProtocolViolationError)):
                    raise WorkerStartError(_diagnosed(error, diagnosis)) from error
                raise
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(diagnosis)
        return cls(process, ours, hello)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    async def examine(self, subject: Subject, descriptor: int, seconds: float) -> Examination:
        """Has an artifact examined.

        Args:
            descriptor: of the artifact, for reading only; it stays open here.

        Raises:
            JobFailedError: the worker failed.
        """
        self.jobs += 1
        try:
            async with asyncio.timeout(seconds):
                await protocol.send_async(self._channel, protocol.Job(subject=subject), descriptor)
                answer = await protocol.receive_async(self._channel, protocol.ANSWER)
        except TimeoutError as error:
            raise JobFailedError("time-out") from error
        except protocol.ProtocolViolationError as error:
            raise JobFailedError("protocol-violation") from error
        except EOFError as error:
            raise JobFailedError(await self._cause_of_death()) from error
        if isinstance(answer, protocol.Failed):
            raise JobFailedError(answer.why, by_content=answer.by_content)
        return answer.examination

    async def _cause_of_death(self) -> str:
        # It has closed the channel, so that it is dead or as good as dead.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REAP_SECONDS):
                await self._process.wait()
        if self._process.returncode is not None and self._process.returncode < 0:
            return "killed"
        return "crashed"

    def kill(self) -> None:
        """Kills it at once. Call ``reaped`` later."""
        with contextlib.suppress(OSError):
            # Wakes a job that waits; to close the socket under it would leave it waiting.
            self._channel.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def reaped(self) -> None:
        """Waits until the killed process is gone."""
        await self._process.wait()
        self._channel.close()


async def _executed(theirs: socket.socket, diagnosis: int) -> asyncio.subprocess.Process:
    """Executes the program with an empty environment and no descriptor but those given."""
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "wharfinger_daemon.sandbox.worker",
            str(theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=diagnosis,
            stderr=diagnosis,
            pass_fds=(theirs.fileno(),),
            env={},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerStartError(f"The worker's program could not be executed: {error}.") from error


async def _greeted(channel: socket.socket, settings: SandboxSettings) -> protocol.Hello:
    setup = protocol.Setup(
        parent=os.getpid(),
        limits=settings.limits,
        checks=settings.checks,
        memory_bytes=settings.memory_bytes,
        cpu_seconds=math.ceil(settings.start_seconds + settings.job_seconds * (settings.jobs_per_worker + 1)),
    )
    await protocol.send_async(channel, setup)
    greeting = await protocol.receive_async(channel, protocol.GREETING)
    if isinstance(greeting, protocol.Refusal):
        raise WorkerStartError(f"The worker refused to start: {greeting.why}")
    lacking = sorted(settings.required_layers - set(greeting.active))
    if lacking:
        reasons = "; ".join(f"{layer}: {greeting.missing.get(layer, 'not attempted')}" for layer in lacking)
        raise WorkerStartError(f"The worker cannot be confined as required ({reasons}).")
    return greeting


async def _killed(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _diagnosed(error: Exception, diagnosis: int) -> str:
    """What the worker wrote last before it was confined, which is Python's own report."""
    if isinstance(error, TimeoutError):
        return "The worker did not start in time."
    if isinstance(error, protocol.ProtocolViolationError):
        return f"The worker does not speak as it should: {error}"
    end = os.lseek(diagnosis, 0, os.SEEK_END)
    text = os.pread(diagnosis, _DIAGNOSIS_BYTES, max(0, end - _DIAGNOSIS_BYTES)).decode("utf-8", "replace")
    last = text.strip().rpartition("\n")[2]
    return f"The worker ended while it was starting: {last or 'it said nothing'}"
