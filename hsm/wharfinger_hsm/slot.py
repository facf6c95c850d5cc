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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from wharfinger_hsm.errors import CALLERS_FAULT, HsmError, TokenUnavailableError, WrongPinError, error_from_wire
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.messages import Failed, Reply, Request
from wharfinger_hsm.worker_process import WorkerLostError, WorkerProcess

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way. Times are those of the event loop's clock."""

    request: Request
    deadline: float
    allowance: float
    """Seconds that the worker has at least, whatever the deadline."""
    repeatable: bool
    """May be sent to another worker, once, after the first was lost."""
    answer: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def resolve(self, reply: Reply) -> None:
        if not self.answer.done():  # The caller may have stopped waiting.
            self.answer.set_result(reply)

    def fail(self, error: HsmError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class SlotState(Enum):
    STARTING = auto()
    HEALTHY = auto()
    BACKING_OFF = auto()
    ENDED = auto()


@dataclass(slots=True, eq=False)
class Crew:
    """What the slots of one supervisor share."""

    launch: Callable[[], Awaitable[WorkerProcess]]
    limits: SupervisorLimits
    on_worker_lost: Callable[[str], None]
    jobs: deque[Job] = field(default_factory=deque)
    arrival: asyncio.Event = field(default_factory=asyncio.Event)
    slots: list["WorkerSlot"] = field(default_factory=list)
    restarts: int = 0
    refused_pin: WrongPinError | None = None
    # Log-ins one after another: SoftHSM fails simultaneous starts, and a wrong PIN must be found out by one attempt.
    log_in: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def launch_one(self) -> WorkerProcess:
        """Starts a worker. Raises `HsmError`; after one refused PIN, `WrongPinError` without asking the token."""
        async with self.log_in:
            if self.refused_pin is not None:
                raise WrongPinError(str(self.refused_pin))
            try:
                async with asyncio.timeout(self.limits.start):
                    return await self.launch()
            except WrongPinError as error:
                self.refused_pin = error
                raise
            except WorkerLostError as error:
                raise TokenUnavailableError(str(error)) from error
            except TimeoutError as error:
                overdue = f"A worker did not log in within {self.limits.start:g} seconds and was killed."
                raise TokenUnavailableError(overdue) from error

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self.arrival.set()

    def count(self, *states: SlotState) -> int:
        return sum(slot.state in states for slot in self.slots)

    def refusal(self) -> HsmError | None:
        """Why a call cannot be served, unless some worker is there or about to be."""
        if self.count(SlotState.HEALTHY, SlotState.STARTING):
            return None
        if self.refused_pin is not None:
            return WrongPinError(str(self.refused_pin))
        waiting = [slot for slot in self.slots if slot.state is SlotState.BACKING_OFF]
        if not waiting:
            return TokenUnavailableError("The HSM workers are not running.")
        soonest = min(waiting, key=lambda slot: slot.next_attempt)
        wait = max(0.0, soonest.next_attempt - asyncio.get_running_loop().time())
        return TokenUnavailableError(
            f"No HSM worker can serve. {soonest.trouble}", max(wait, self.limits.first_backoff)
        )

    def refuse_waiting(self) -> None:
        """Fails every waiting job when nobody will serve it."""
        error = self.refusal()
        while error is not None and self.jobs:
            self.jobs.popleft().fail(error)


class WorkerSlot:
    """One place. `tend` runs for as long as the supervisor does."""

    def __init__(self, crew: Crew, worker: WorkerProcess) -> None:
        self._crew = crew
        self._worker: WorkerProcess | None = worker
        self._failures = 0
        self.state = SlotState.HEALTHY
        self.next_attempt = 0.0
        """When, by the event loop's clock, a slot that backs off tries again."""
        self.trouble = ""
        """Why the last worker was lost."""

    async def tend(self) -> None:
        """Serves jobs, and replaces the worker whenever it is lost, until a PIN is refused or the task is cancelled."""
        try:
            while self._worker is not None:
                self.trouble = await self._serve(self._worker)
                await self._lose(self._worker)
                self._worker = await self._replacement()
        finally:
            self.state = SlotState.ENDED
            self._crew.refuse_waiting()

    async def stop(self) -> None:
        """Ends the worker; for when `tend` has ended."""
        if self._worker is not None:
            await self._worker.stop(self._crew.limits.stop)

    async def _serve(self, worker: WorkerProcess) -> str:
        """Does jobs until the worker is lost; says why it was."""
        while (job := await self._next_job(worker)) is not None:
            if job.answer.done():
                continue  # Its caller went away, or its deadline passed while it waited: no fault of the worker.
            trouble = await self._do(job, worker)
            if trouble is not None:
                return trouble
        return "The worker ended by itself."

    async def _next_job(self, worker: WorkerProcess) -> Job | None:
        """The next job, or None when the worker ends first."""
        while not worker.ended.done():
            if self._crew.jobs:
                return self._crew.jobs.popleft()
            self._crew.arrival.clear()
            arrival = asyncio.ensure_future(self._crew.arrival.wait())
            try:
                await asyncio.wait({arrival, worker.ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                arrival.cancel()
        return None

    async def _do(self, job: Job, worker: WorkerProcess) -> str | None:
        """Has the worker do the job. Returns why it was lost, or None when it is as good as before."""
        loop = asyncio.get_running_loop()
        seconds = max(job.deadline - loop.time(), job.allowance)
        try:
            async with asyncio.timeout(seconds):
                reply = await worker.call(job.request)
        except TimeoutError:
            trouble = f"A worker did not answer within {seconds:.3g} seconds and was killed."
            job.fail(TokenUnavailableError(trouble, self._crew.limits.first_backoff))
            return trouble
        except WorkerLostError as error:
            self._give_back(job, str(error))
            return str(error)
        except asyncio.CancelledError:
            job.fail(TokenUnavailableError("The supervisor was closed during the call."))
            raise
        if not isinstance(reply, Failed):
            self._failures = 0
            job.resolve(reply)
            return None
        return self._do_failed(job, error_from_wire(reply.error, reply.message))

    def _do_failed(self, job: Job, error: HsmError) -> str | None:
        if isinstance(error, CALLERS_FAULT):
            self._failures = 0
            job.fail(error)
            return None
        if isinstance(error, TokenUnavailableError):
            self._give_back(job, str(error))
        else:
            job.fail(error)
        return str(error)

    def _give_back(self, job: Job, trouble: str) -> None:
        """A lost worker's job: once to another healthy worker, if it repeats safely, or back to the caller."""
        others = [slot for slot in self._crew.slots if slot is not self and slot.state is SlotState.HEALTHY]
        if job.repeatable and others:
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
