"""Places for workers: each is filled again when its worker is lost.

States of a slot::

    starting ──► healthy ──► starting          (the worker was lost; replaced after the first back-off)
       ▲            ▲            │
       └────────────┴─ backing off ◄┘          (the replacement failed too; calls are refused until one is healthy)

    any ──► ended                               (a PIN was refused, or the supervisor closed)
"""

import asyncio
import logging
from collections import deque

from wharfinger_hsm.crew import Crew, Job, SlotState, merged
from wharfinger_hsm.errors import (
    CALLERS_FAULT,
    HsmError,
    SignatureInvalidError,
    TokenUnavailableError,
    WrongPinError,
    error_from_wire,
)
from wharfinger_hsm.messages import Failed, Signed
from wharfinger_hsm.worker_process import WorkerLostError, WorkerProcess

logger = logging.getLogger(__name__)

_UNVERIFIED_REPLIES = 2
"""A worker signs the next while the last is verified, and no further ahead."""


class WorkerSlot:
    """One place. `tend` runs for as long as the supervisor does. Without a worker it begins by backing off."""

    def __init__(self, crew: Crew, worker: WorkerProcess | None, trouble: str = "") -> None:
        self._crew = crew
        self._worker = worker
        self._failures = 0
        self._arrival: asyncio.Future[None] | None = None
        self._verifications: deque[asyncio.Task[None]] = deque()
        self.state = SlotState.BACKING_OFF if worker is None else SlotState.HEALTHY
        self.next_attempt = 0.0
        """When, by the event loop's clock, a slot that backs off tries again."""
        self.trouble = trouble
        """Why the last worker was lost."""

    async def tend(self) -> None:
        """Serves jobs, and replaces the worker whenever it is lost, until a PIN is refused or the task is cancelled."""
        try:
            if self._worker is None:
                self._worker = await self._replacement()
            while self._worker is not None:
                self.trouble = await self._serve(self._worker)
                await self._lose(self._worker)
                self._worker = await self._replacement()
        finally:
            self.state = SlotState.ENDED
            self._crew.refuse_waiting()

    async def stop(self) -> None:
        """Ends the worker; for when `tend` has ended."""
        await asyncio.gather(*self._verifications)
        if self._worker is not None:
            await self._worker.stop(self._crew.limits.stop)

    async def _serve(self, worker: WorkerProcess) -> str:
        """Does jobs until the worker is lost; says why it was."""
        worker.ended.add_done_callback(self._notice_end)
        try:
            while jobs := await self._next_jobs(worker):
                trouble = await self._do(jobs, worker)
                if trouble is not None:
                    return worker.condemned or trouble
                while len(self._verifications) >= _UNVERIFIED_REPLIES:
                    await asyncio.wait({self._verifications[0]})
        finally:
            worker.ended.remove_done_callback(self._notice_end)
        return worker.condemned or "The worker ended by itself."

    async def _next_jobs(self, worker: WorkerProcess) -> list[Job]:
        """The next jobs, for one request; none when the worker ends first."""
        self._crew.idle += 1
        try:
            while not worker.ended.done():
                if jobs := self._crew.take():
                    return jobs
                self._arrival = self._crew.arrival()
                await self._arrival
        finally:
            self._crew.idle -= 1
        self._crew.wake_one()  # Perhaps this slot was woken for a job that it cannot do any more.
        return []

    def _notice_end(self, ended: asyncio.Future[int]) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def _do(self, jobs: list[Job], worker: WorkerProcess) -> str | None:
        """Has the worker do the jobs. Returns why it was lost, or None when it is as good as before."""
        seconds = self._seconds(jobs)
        try:
            async with asyncio.timeout(seconds):
                reply = await worker.call(merged(jobs))
        except TimeoutError:
            trouble = f"A worker did not answer within {seconds:.3g} seconds and was killed."
            self._give_back(jobs, trouble)
            return trouble
        except WorkerLostError as error:
            self._give_back(jobs, worker.condemned or str(error))
            return str(error)
        except asyncio.CancelledError:
            for job in jobs:
                job.fail(TokenUnavailableError("The supervisor was closed during the call."))
            raise
        match reply:
            case Failed(_, wire_name, message):
                return self._do_failed(jobs, error_from_wire(wire_name, message))
            case Signed(_, signatures):
                verification = asyncio.create_task(self._verify(jobs, signatures, worker))
                self._verifications.append(verification)
                verification.add_done_callback(self._verifications.remove)
            case _:
                self._failures = 0
                jobs[0].resolve(reply)
        return None

    def _seconds(self, jobs: list[Job]) -> float:
        """Until the last deadline, within what a worker has at least and at most."""
        left = max(job.deadline for job in jobs) - asyncio.get_running_loop().time()
        allowance = max(job.allowance for job in jobs)
        if len(jobs) > 1:
            allowance = self._crew.limits.allowance_for(sum(len(job.items) for job in jobs))
        return min(max(left, allowance), max(job.ceiling for job in jobs))

    async def _verify(self, jobs: list[Job], signatures: list[bytes], worker: WorkerProcess) -> None:
        """Answers each job with its part of the signatures, if all of that part are right."""
        items = [item for job in jobs for item in job.items]
        faults = await self._crew.verifier.faults(items, signatures)
        found: SignatureInvalidError | None = None
        start = 0
        for job in jobs:
            end = start + len(job.items)
            fault = next((fault for fault in faults[start:end] if fault is not None), None)
            if fault is None:
                job.resolve(Signed(job.request.number, signatures[start:end]))
            else:
                found = fault
                job.fail(fault)
            start = end
        if found is None:
            self._failures = 0
        else:
            worker.condemn(str(found))

    def _do_failed(self, jobs: list[Job], error: HsmError) -> str | None:
        if isinstance(error, CALLERS_FAULT):
            self._failures = 0
            if len(jobs) > 1:  # One of them is at fault, and the others must not pay for it.
                for job in jobs:
                    job.alone = True
                self._crew.put_back(jobs)
            else:
                jobs[0].fail(error)
            return None
        if isinstance(error, WrongPinError):  # PINs expire, or are locked, under sessions that live.
            self._crew.give_pin_up(error)
        if isinstance(error, TokenUnavailableError):
            self._give_back(jobs, str(error))
        else:
            for job in jobs:
                job.fail(error)
        return str(error)

    def _give_back(self, jobs: list[Job], trouble: str) -> None:
        """A lost worker's jobs: once to another healthy worker, if they repeat safely and in time, or back."""
        least = asyncio.get_running_loop().time() + self._crew.limits.least
        others = [slot for slot in self._crew.slots if slot is not self and slot.state is SlotState.HEALTHY]
        for job in jobs:
            if job.repeatable and others and job.deadline > least:
                job.repeatable = False
                self._crew.submit(job)
            else:
                job.fail(TokenUnavailableError(trouble, self._crew.limits.first_backoff))

    async def _lose(self, worker: WorkerProcess) -> None:
        self.state = SlotState.STARTING
        self._crew.restarts += 1
        logger.warning("HSM worker %d was lost: %s", worker.process_id, self.trouble)
        await worker.kill()
        self._crew.on_worker_lost(self.trouble)

    async def _replacement(self) -> WorkerProcess | None:
        """A new worker, after as many attempts as it takes; None once a PIN was refused."""
        loop = asyncio.get_running_loop()
        while True:
            self._failures += 1
            wait = self._crew.limits.backoff(self._failures)
            self.next_attempt = loop.time() + wait
            if self._failures > 1:
                self.state = SlotState.BACKING_OFF
                self._crew.refuse_waiting()
            await asyncio.sleep(wait)
            try:
                worker = await self._crew.launch_one()
            except WrongPinError as error:
                logger.error("No more HSM workers are started. %s", error)
                return None
            except HsmError as error:
                self.trouble = str(error)
                logger.warning("An HSM worker could not be replaced: %s", error)
            else:
                self.state = SlotState.HEALTHY
                return worker
