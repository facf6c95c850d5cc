"""A pool of workers: the ``Examiner`` of the daemon.

Rules of the whole module:
  (1) A worker examines one artifact at a time, and one that failed in any way is killed, never used again.
  (2) A job whose worker failed is tried once more, in a fresh worker. Failing again is the content's doing, in whatever
      way it fails, or an artifact could choose to be an error instead of suspicious.
  (3) A worker that does not start says nothing about the content.
  (4) A job that is cancelled takes its worker with it, and no other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import BinaryIO

import structlog

from wharfinger_daemon.errors import Reason, StartupError, UnavailableError
from wharfinger_daemon.sandbox.handover import readonly_descriptor
from wharfinger_daemon.sandbox.protocol import Hello
from wharfinger_daemon.sandbox.settings import SandboxSettings
from wharfinger_daemon.sandbox.worker_process import JobFailedError, WorkerProcess, WorkerStartError
from wharfinger_daemon.scanning.model import Examination, Subject
from wharfinger_daemon.scanning.ports import ContentFailure

_log = structlog.get_logger("wharfinger.sandbox")


class _Slot:
    """The place of one worker, which is there or is to be started."""

    worker: WorkerProcess | None = None


class SandboxPool:
    """Call ``start`` first and ``close`` last, in the same event loop."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        # None wakes those who wait when the pool is closed.
        self._idle: asyncio.Queue[_Slot | None] = asyncio.Queue()
        self._slots = [_Slot() for _ in range(settings.workers)]
        self._reaping: set[asyncio.Task[None]] = set()
        self._refilling: set[asyncio.Task[None]] = set()
        self._hello: Hello | None = None
        self._closed = False
        self._problem: str | None = None

    async def start(self) -> None:
        """Starts all workers.

        Raises:
            StartupError: SANDBOX_UNAVAILABLE; a worker does not start or cannot be confined as required.
        """
        started = await asyncio.gather(*map(self._start_worker, self._slots), return_exceptions=True)
        failures = [result for result in started if isinstance(result, BaseException)]
        if not failures:
            for slot in self._slots:
                self._idle.put_nowait(slot)
            return
        await self.close()
        if isinstance(failures[0], WorkerStartError):
            raise StartupError(
                f"The scan sandbox does not start. {failures[0]} Repair that, or stop requiring the layer in [scan].",
                reason=Reason.SANDBOX_UNAVAILABLE,
            ) from failures[0]
        raise failures[0]

    @property
    def hello(self) -> Hello:
        """What the first worker reported: rule set, layers that hold, layers that do not, checks that did not load.

        Raises:
            UnavailableError: the pool was never started.
        """
        if self._hello is None:
            raise _unavailable("The scan sandbox was not started.")
        return self._hello

    @property
    def rule_set(self) -> str:
        """The version of the rule set."""
        return self.hello.rule_set

    @property
    def problem(self) -> str | None:
        """Why the last worker that was to be started did not start; None if it did."""
        return self._problem

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are there, for operators."""
        return [slot.worker.pid for slot in self._slots if slot.worker is not None and slot.worker.alive]

    async def examine(self, artifact: BinaryIO, subject: Subject) -> Examination:
        """Examines the artifact, waiting for a free worker.

        Raises:
            ContentFailure: two workers failed.
            UnavailableError: SANDBOX_UNAVAILABLE; no worker starts, the artifact cannot be read, or the pool is closed.
        """
        slot = await self._idle.get()
        if slot is None:
            self._idle.put_nowait(None)
            raise _unavailable("The scan sandbox is closed.")
        try:
            descriptor = await self._handed_over(artifact)
            try:
                return await self._examine_twice(slot, subject, descriptor)
            finally:
                os.close(descriptor)
        finally:
            self._release(slot)

    async def _handed_over(self, artifact: BinaryIO) -> int:
        opening = asyncio.ensure_future(asyncio.to_thread(readonly_descriptor, artifact))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread goes on, and what it opens must be closed.
            opening.add_done_callback(_close_result)
            raise
        except OSError as error:
            raise _unavailable(f"The artifact cannot be handed to the scan sandbox: {error}.") from error

    async def _examine_twice(self, slot: _Slot, subject: Subject, descriptor: int) -> Examination:
        why = ""
        for attempt in (1, 2):
            try:
                worker = await self._ready_worker(slot)
                return await worker.examine(subject, descriptor, self._settings.job_seconds)
            except WorkerStartError as error:
                raise _unavailable(f"No scan worker starts. {error}") from error
            except JobFailedError as failure:
                why = failure.why
                _log.warning("scan_worker_failed", why=why, attempt=attempt, filename=subject.filename)
                self._discard(slot)
                if not failure.by_content:
                    raise _unavailable(why) from failure
            except BaseException:
                self._discard(slot)
                raise
        raise ContentFailure(why)

    async def _ready_worker(self, slot: _Slot) -> WorkerProcess:
        if slot.worker is not None and not slot.worker.alive:
            self._discard(slot)
        return slot.worker or await self._start_worker(slot)

    async def _start_worker(self, slot: _Slot) -> WorkerProcess:
        if self._closed:
            raise WorkerStartError("The scan sandbox is closed.")
        try:
            worker = await WorkerProcess.start(self._settings)
        except WorkerStartError as error:
            self._problem = str(error)
            raise
        self._problem = None
        self._hello = self._hello or worker.hello
        slot.worker = worker
        if worker.hello.rule_set != self._hello.rule_set or self._closed:
            self._discard(slot)
            raise WorkerStartError("The installed checks have changed, or the daemon stops. Restart the daemon.")
        return worker

    def _discard(self, slot: _Slot) -> None:
        if slot.worker is not None:
            slot.worker.kill()
            _in_background(slot.worker.reaped(), self._reaping)
            slot.worker = None

    def _release(self, slot: _Slot) -> None:
        """Gives the slot back, with a worker in it if one can be had."""
        if slot.worker is not None and (self._closed or slot.worker.jobs >= self._settings.jobs_per_worker):
            self._discard(slot)
        if self._closed:
            return
        if slot.worker is None:
            _in_background(self._refill(slot), self._refilling)
        else:
            self._idle.put_nowait(slot)

    async def _refill(self, slot: _Slot) -> None:
        try:
            await self._start_worker(slot)
        except Exception as error:  # noqa: BLE001 - whatever it is, the slot must not be lost
            # The next job tries again, and tells its caller.
            _log.error("scan_worker_does_not_start", why=str(error))
        self._idle.put_nowait(slot)

    async def close(self) -> None:
        """Kills all workers; jobs that wait or are under way fail as unavailable. May be called again."""
        self._closed = True
        while not self._idle.empty():
            self._idle.get_nowait()
        self._idle.put_nowait(None)
        for task in self._refilling:
            task.cancel()
        for slot in self._slots:
            self._discard(slot)
        while tasks := self._refilling | self._reaping:
            await asyncio.gather(*tasks, return_exceptions=True)


def _in_background(work: Coroutine[object, object, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _close_result(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _unavailable(message: str) -> UnavailableError:
    return UnavailableError(message, reason=Reason.SANDBOX_UNAVAILABLE)
