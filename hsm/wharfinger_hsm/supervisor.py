"""Workers, kept alive: what a daemon uses to reach its token.

Any failure of a worker that was not the caller's fault (a crash, a missed deadline, nonsense on the pipe, a PKCS#11
error) ends that worker; another takes its place after a back-off. A refused PIN ends the replacing for good.

Example::

    supervisor = HsmSupervisor(TokenSettings(module, "online", pin_file, {"SOFTHSM2_CONF": "/etc/softhsm2.conf"}))
    await supervisor.start()
    (signature,) = await supervisor.sign([SigningItem(public_key, Digest(sha256))], timeout_seconds=5)
    await supervisor.close()
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from wharfinger_hsm.crew import Crew, Job, SlotState
from wharfinger_hsm.errors import OverloadedError, TokenUnavailableError, WrongPinError
from wharfinger_hsm.labels import check_label
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.messages import (
    Attributes,
    Destroy,
    Generate,
    Keys,
    ListKeys,
    ReadAttributes,
    Reply,
    Request,
    Sign,
    Signed,
    WireItem,
)
from wharfinger_hsm.model import MAX_MESSAGE_BYTES, KeyAlgorithm, KeyAttributes, KeySource, SigningItem, TokenKey
from wharfinger_hsm.slot import WorkerSlot
from wharfinger_hsm.verification import check_readable
from wharfinger_hsm.verifier import SignatureVerifier
from wharfinger_hsm.worker_process import WORKER_COMMAND, WorkerProcess

logger = logging.getLogger(__name__)


class HsmSupervisor:
    """A token behind worker processes. For one event loop; its methods may be called concurrently.

    `on_worker_lost` is called in the event loop with the reason each time that a worker is replaced; `on_pin_refused`
    once, as soon as the token has refused the PIN, at the start or later.
    """

    def __init__(
        self,
        settings: KeySource,
        *,
        workers: int = 1,
        limits: SupervisorLimits | None = None,
        worker_command: Sequence[str] = WORKER_COMMAND,
        on_worker_lost: Callable[[str], None] | None = None,
        on_pin_refused: Callable[[WrongPinError], None] | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError("A supervisor needs at least one worker.")
        self._workers = workers
        self._limits = limits or SupervisorLimits()
        self._numbers = count(1)
        self._slots: list[WorkerSlot] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._verifier = SignatureVerifier()
        self._crew = Crew(
            launch=lambda: WorkerProcess.launch(worker_command, settings),
            limits=self._limits,
            verifier=self._verifier,
            on_worker_lost=on_worker_lost or (lambda reason: None),
            on_pin_refused=on_pin_refused or (lambda error: None),
        )

    @property
    def healthy_workers(self) -> int:
        """Workers that are logged in and answer, as far as is known."""
        return self._crew.count(SlotState.HEALTHY)

    @property
    def restarts(self) -> int:
        """Workers lost since `start`."""
        return self._crew.restarts

    async def start(self) -> None:
        """Starts the workers one after another; all of them are logged in afterwards. Call it once.

        Raises what the first one that fails met (`ModuleMissingError`, `TokenMissingError`, `PinFileError`,
        `WrongPinError`, `TokenUnavailableError` for the rest), after ending the others. Nothing is tried twice.
        """
        try:
            for _ in range(self._workers):
                self._place(WorkerSlot(self._crew, await self._crew.launch_one()))
        except BaseException:
            await self._end_workers()
            raise
        self._tend()

    def start_later(self, trouble: str) -> None:
        """In place of `start`, or after it raised: the workers are started as lost ones are replaced, with back-off.

        Calls are refused until then, with `trouble`, which says why there is no worker. After a refused PIN nothing is
        started, and calls get `WrongPinError`.
        """
        if self._crew.refused_pin is None:
            for _ in range(self._workers):
                self._place(WorkerSlot(self._crew, None, trouble))
            self._tend()

    async def keys(self) -> list[TokenKey]:
        """All usable key pairs on the token now, by label.

        Raises `TokenUnavailableError`, `WrongPinError` or `OverloadedError`.
        """
        reply = await self._ask(ListKeys(next(self._numbers)), repeatable=True)
        assert isinstance(reply, Keys)  # WorkerProcess.call lets nothing else through.
        return reply.keys

    async def generate(self, algorithm: KeyAlgorithm, label: str) -> TokenKey:
        """Makes a key pair on the token: see `Token.generate` for what is refused. Never repeated by itself.

        After `TokenUnavailableError` the key may exist or not: list the keys before trying again.
        """
        check_label(label)
        reply = await self._ask(Generate(next(self._numbers), algorithm, label), repeatable=False)
        assert isinstance(reply, Keys)  # The same.
        return reply.keys[0]

    async def attributes(self, public_key: bytes) -> KeyAttributes:
        """What the token tells about a private key. Raises `KeyNotFoundError`, or what `keys` raises."""
        reply = await self._ask(ReadAttributes(next(self._numbers), public_key), repeatable=True)
        assert isinstance(reply, Attributes)  # The same.
        return reply.attributes

    async def destroy(self, public_key: bytes) -> None:
        """Destroys both halves of a key pair, for ever: see `Token.destroy` for what is refused. Never repeated.

        After `TokenUnavailableError` the key may exist or not: list the keys before trying again. Workers that had
        found the key already are replaced when they are next asked for keys.
        """
        await self._ask(Destroy(next(self._numbers), public_key), repeatable=False)

    async def sign(self, items: Sequence[SigningItem], *, timeout_seconds: float) -> list[bytes]:
        """Signs all items or none, in their order (formats: see `Token.sign`). Each signature was verified, here.

        Long batches are split among workers; short ones that wait share a request, and each keeps its own deadline and
        error. When a worker is lost, what it had in hand goes to another healthy worker, once: signing twice is
        harmless, since it is the same payload. A worker that has had the whole deadline, and at least the allowance of
        `SupervisorLimits`, or their ceiling, is killed; so is one whose signature is wrong.

        Raises `UnsupportedItemError` and `KeyNotFoundError` for the caller's mistakes, `SignatureInvalidError` for a
        faulty token, `OverloadedError`, `TokenUnavailableError` when the deadline passes, is too near, or no worker can
        serve, and `WrongPinError` when none ever will before somebody corrects the PIN and restarts.
        """
        for item in items:
            check_readable(item)
        if timeout_seconds < self._limits.least:
            raise TokenUnavailableError(f"{timeout_seconds * 1000:.3g} ms are too little to ask the HSM.")
        batches = list(_batches(items, self._batch_size(len(items))))
        self._admit(len(batches))
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        jobs = [self._signing(batch, deadline) for batch in batches]
        for job in jobs:
            self._crew.submit(job)
        replies = await _answers(jobs, timeout_seconds)
        return [signature for reply in replies if isinstance(reply, Signed) for signature in reply.signatures]

    async def close(self) -> None:
        """Ends all workers, logged out where they still listen. Calls that wait get `TokenUnavailableError`."""
        await self._end_workers()
        self._verifier.close()

    async def _end_workers(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(slot.stop() for slot in self._slots))
        self._tasks, self._slots = [], []
        self._crew.slots.clear()
        self._crew.refuse_waiting()

    def _place(self, slot: WorkerSlot) -> None:
        self._slots.append(slot)
        self._crew.slots.append(slot)

    def _tend(self) -> None:
        self._tasks = [asyncio.create_task(slot.tend()) for slot in self._slots]
        for task in self._tasks:
            task.add_done_callback(_report)

    async def _ask(self, request: Request, *, repeatable: bool) -> Reply:
        self._admit(1)
        seconds = self._limits.keys
        deadline = asyncio.get_running_loop().time() + seconds
        job = Job(request, deadline, allowance=seconds, ceiling=seconds, repeatable=repeatable)
        self._crew.submit(job)
        (reply,) = await _answers([job], seconds)
        return reply

    def _admit(self, requests: int) -> None:
        refusal = self._crew.refusal()
        if refusal is not None:
            raise refusal
        if len(self._crew.jobs) + requests > self._limits.waiting_requests:
            raise OverloadedError(f"More than {self._limits.waiting_requests} requests would wait for the HSM.")

    def _signing(self, items: Sequence[SigningItem], deadline: float) -> Job:
        return Job(
            Sign(next(self._numbers), [WireItem.of(item) for item in items]),
            deadline,
            allowance=self._limits.allowance_for(len(items)),
            ceiling=self._limits.ceiling,
            repeatable=True,
            items=tuple(items),
        )

    def _batch_size(self, items: int) -> int:
        """A fair share for each healthy worker, within the limit."""
        share = -(-items // max(1, self.healthy_workers))
        return max(1, min(self._limits.items_per_request, share))


def _report(task: asyncio.Task[None]) -> None:
    """A slot that ends by an exception is a programming error, and must not pass in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("A place for an HSM worker was lost to a programming error.", exc_info=error)


async def _answers(jobs: Sequence[Job], seconds: float) -> list[Reply]:
    """The replies in order, or the first error; in both cases nothing that still waits is done afterwards."""
    try:
        async with asyncio.timeout(seconds):
            if len(jobs) == 1:
                return [await jobs[0].answer]
            return await asyncio.gather(*(job.answer for job in jobs))
    except TimeoutError as error:
        raise TokenUnavailableError(f"The HSM did not answer within {seconds:.3g} seconds.") from error
    finally:
        for job in jobs:
            job.answer.cancel()


def _batches(items: Sequence[SigningItem], size: int) -> Iterator[list[SigningItem]]:
    """Splits by number, and by bytes too, so that each batch fits into a frame."""
    batch: list[SigningItem] = []
    length = 0
    for item in items:
        length += len(item.payload.value)
        if batch and (len(batch) == size or length > MAX_MESSAGE_BYTES):
            yield batch
            batch, length = [], len(item.payload.value)
        batch.append(item)
    if batch:
        yield batch
