"""What the workers of one supervisor share: the jobs that wait, the lock of log-ins, the fate of the PIN."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from wharfinger_hsm.errors import HsmError, TokenUnavailableError, WrongPinError
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.messages import Reply, Request, Sign, WireItem
from wharfinger_hsm.model import MAX_MESSAGE_BYTES, SigningItem
from wharfinger_hsm.verifier import SignatureVerifier
from wharfinger_hsm.worker_process import WorkerLostError, WorkerProcess


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way. Times are those of the event loop's clock."""

    request: Request
    deadline: float
    allowance: float
    """Seconds that the worker has at least, whatever the deadline."""
    ceiling: float
    """Seconds that the worker has at most, whatever the deadline."""
    repeatable: bool
    """May be sent to another worker, once, after the first was lost."""
    items: tuple[SigningItem, ...] = ()
    """What a `Sign` asks for; its answer is given after the signatures were verified."""
    alone: bool = False
    """Is not merged with others: it, or one that it was merged with, was refused."""
    answer: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def resolve(self, reply: Reply) -> None:
        if not self.answer.done():  # The caller may have stopped waiting.
            self.answer.set_result(reply)

    def fail(self, error: HsmError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    @property
    def size(self) -> int:
        """The bytes of all payloads."""
        return sum(len(item.payload.value) for item in self.items)


def merged(jobs: list[Job]) -> Request:
    """One request for all these jobs: the only job's own, or a `Sign` of all items in their order."""
    if len(jobs) == 1:
        return jobs[0].request
    return Sign(jobs[0].request.number, [WireItem.of(item) for job in jobs for item in job.items])


class SlotState(Enum):
    STARTING = auto()
    HEALTHY = auto()
    BACKING_OFF = auto()
    ENDED = auto()


class Place(Protocol):
    """What the crew knows of each of its slots."""

    state: SlotState
    next_attempt: float
    trouble: str


@dataclass(slots=True, eq=False)
class Crew:
    """Shared by the slots of one supervisor."""

    launch: Callable[[], Awaitable[WorkerProcess]]
    limits: SupervisorLimits
    verifier: SignatureVerifier
    on_worker_lost: Callable[[str], None]
    on_pin_refused: Callable[[WrongPinError], None]
    jobs: deque[Job] = field(default_factory=deque)
    slots: list[Place] = field(default_factory=list)
    restarts: int = 0
    refused_pin: WrongPinError | None = None
    # Log-ins one after another: SoftHSM fails simultaneous starts, and a wrong PIN must be found out by one attempt.
    log_in: asyncio.Lock = field(default_factory=asyncio.Lock)
    idle: int = 0
    """Slots that have a worker and nothing for it to do, as far as they have noticed."""
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    async def launch_one(self) -> WorkerProcess:
        """Starts a worker. Raises `HsmError`; after one refused PIN, `WrongPinError` without asking the token."""
        async with self.log_in:
            if self.refused_pin is not None:
                raise WrongPinError(str(self.refused_pin))
            try:
                async with asyncio.timeout(self.limits.start):
                    return await self.launch()
            except WrongPinError as error:
                self.give_pin_up(error)
                raise
            except WorkerLostError as error:
                raise TokenUnavailableError(str(error)) from error
            except TimeoutError as error:
                overdue = f"A worker did not log in within {self.limits.start:g} seconds and was killed."
                raise TokenUnavailableError(overdue) from error

    def give_pin_up(self, error: WrongPinError) -> None:
        """No worker logs in from now on: one attempt more could be one too many."""
        if self.refused_pin is None:
            self.refused_pin = error
            self.on_pin_refused(error)

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self.wake_one()

    def put_back(self, jobs: list[Job]) -> None:
        """First in the queue again, in their order."""
        self.jobs.extendleft(reversed(jobs))
        for _ in jobs:
            self.wake_one()

    def wake_one(self) -> None:
        """Wakes one slot that waits, if any does."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def arrival(self) -> asyncio.Future[None]:
        """Done when a job may be there. A slot that was woken and takes none wakes another."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    def take(self) -> list[Job]:
        """The next job, or several to sign in one request: a fair share of those that wait; none when none does."""
        now = asyncio.get_running_loop().time()
        share = -(-len(self.jobs) // max(1, self.idle))
        taken: list[Job] = []
        items = size = 0
        while self.jobs and len(taken) < share:
            job = self.jobs[0]
            if self._too_late(job, now):
                self.jobs.popleft()
                continue
            items, size = items + len(job.items), size + job.size
            if taken and (not job.items or job.alone or not self._fits(items, size)):
                break
            taken.append(self.jobs.popleft())
            if not job.items or job.alone:
                break
        return taken

    def _too_late(self, job: Job, now: float) -> bool:
        """Its caller went away, or will before an answer can come: the token is not bothered."""
        if job.deadline - now < self.limits.least:
            job.fail(TokenUnavailableError("The time was up before the HSM could be asked."))
        return job.answer.done()

    def _fits(self, items: int, size: int) -> bool:
        return items <= self.limits.items_per_request and size <= MAX_MESSAGE_BYTES

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
