"""The publisher: one task that publishes what waits, takes in new offline metadata, renews what runs out or was signed
by another key than the one that signs now, finishes what was begun, and removes what nobody uses any more.

Rules of the whole module:
  (1) There is one publisher for a store; the store's lock keeps others out.
  (2) A prepared publication is finished before anything else is prepared, in this process or the next.
  (3) What fails is tried again, at growing intervals, until it works or the publisher is closed. Callers are told at
      once; what is prepared stays, so their change may still become visible.
  (4) A caller is answered when clients can see its change, and not before.
  (5) Health is claimed again only after a write: records that can be read may still take nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from wharfinger_daemon.errors import DeadlineError, Reason, RefusedError, WharfingerError
from wharfinger_daemon.metadata.failures import draining, publication_failed
from wharfinger_daemon.metadata.group_commit import publish_together
from wharfinger_daemon.metadata.intake import Intake, OfflineAuthority, bring_to_clients, staged_intake
from wharfinger_daemon.metadata.planning import Change, Publication
from wharfinger_daemon.metadata.ports import file_name
from wharfinger_daemon.metadata.publisher_settings import PublisherSettings
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.retention import Sweeper
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.metadata.timing import Timer, lock_within, until
from wharfinger_daemon.metadata.waiting import PublicationResult, WaitingChange, WaitingChanges, request
from wharfinger_daemon.metadata.waiting_intakes import Decide, WaitingIntake, WaitingIntakes

log = structlog.get_logger()

__all__ = ["Publisher", "PublisherSettings"]


class Publisher:
    """Publishes one repository. Call ``start`` first and ``close`` last.

    Args:
        sweeper: of the same repository; without one, every file stays.
    """

    def __init__(
        self,
        repository: Repository,
        settings: PublisherSettings,
        authority: OfflineAuthority,
        sweeper: Sweeper | None = None,
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._authority = authority
        self._waiting = WaitingChanges(settings.max_waiting)
        self._intakes = WaitingIntakes()
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._check = Timer()
        self._sweep = Timer()
        self._sweeper = sweeper

    @property
    def problem(self) -> str | None:
        """Why nothing can be published at the moment; None while all is well."""
        return self._problem

    async def start(self) -> None:
        """Locks the store, finishes what a former process left, makes the first publication if there is none, renews
        what runs out, and publishes damaged files anew.

        Raises:
            StartupError: another publisher runs, or records and store do not belong together.
            WharfingerError: records, store or signer fail. Nothing runs, and the store is not locked.
        """
        store = self._repository.store
        await lock_within(store, self._settings.store_patience_seconds)
        try:
            await self._repository.require_agreement()
            await self._catch_up()
            await self._repository.observe()
        except BaseException:
            await store.unlock()
            raise
        self._check.set(0)
        self._task = asyncio.create_task(self._run(), name="publisher")

    async def close(self) -> None:
        """Finishes the publication that runs, refuses what waits and what comes, and unlocks the store."""
        self._closing.set()
        self._wake.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            self._refuse_all()
            await self._repository.store.unlock()

    async def publish(
        self, add: Sequence[Target], remove: Sequence[str], *, timeout_seconds: float
    ) -> PublicationResult:
        """Adds, replaces and removes targets; returns when clients can see the change. Repeats safely.

        Raises:
            InvalidRequestError: a path is named with two intents, or is none.
            OverloadedError: PUBLICATION_QUEUE_FULL.
            RefusedError: BIN_FULL; clients would not read a bin any more. Nothing was recorded.
            UnavailableError: DRAINING; or PUBLICATION_FAILED, when the change is recorded and may become visible later;
                or what the records say, when nothing was recorded.
            CorruptStateError: PUBLICATION_FAILED; an operator must look. The change may become visible later.
            DeadlineError: the time was over. If the change had begun, it may become visible later.
        """
        change = request(add, remove)
        if self._closing.is_set():
            raise draining()
        waiting = self._waiting.put(change)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(waiting.done)
        except TimeoutError as error:
            begun = not self._waiting.withdraw(waiting)
            raise DeadlineError(
                "The time was over before the change was published. "
                + ("It was begun and may still become visible; " if begun else "Nothing of it was recorded; ")
                + "send it again with a later deadline.",
                reason=Reason.DEADLINE_TOO_SHORT,
            ) from error
        except asyncio.CancelledError:
            self._waiting.withdraw(waiting)
            raise

    async def take_in(self, decide: Decide) -> Publication | None:
        """Takes offline metadata in: returns when clients see it.

        Args:
            decide: runs between two publications. What it raises is raised here, and changes nothing.

        Returns:
            The publication that shows it; None if there was nothing to take in.

        Raises:
            UnavailableError: DRAINING; or PUBLICATION_FAILED, when it was accepted and will be tried again.
            CorruptStateError: PUBLICATION_FAILED; it was accepted, and an operator must look.
        """
        if self._closing.is_set():
            raise draining()
        waiting = self._intakes.put(decide)
        self._wake.set()
        try:
            return await asyncio.shield(waiting.done)
        except asyncio.CancelledError:
            self._intakes.withdraw(waiting)
            raise

    def look_again(self) -> None:
        """Has the publisher look at once what is due: to be called when another key signs from now on."""
        self._check.set(0)
        self._wake.set()

    async def _run(self) -> None:
        delay = self._settings.first_retry_seconds
        try:
            while not self._closing.is_set():
                if await self._turn():
                    delay = self._settings.first_retry_seconds
                    await until(self._wake, self._seconds_to_wait())
                else:
                    await until(self._closing, delay)
                    delay = min(2 * delay, self._settings.longest_retry_seconds)
        finally:
            # Also when the task ends by an error that nobody foresaw: nobody may wait for it any more.
            self._closing.set()
            self._refuse_all()

    async def _turn(self) -> bool:
        """Does what is to be done now; False if it failed."""
        self._wake.clear()
        taken: list[WaitingChange] = []
        try:
            # Before the recovery: what it waits for may be a key that is to be revoked.
            while (intake := self._intakes.take()) is not None:
                await self._take_in(intake)
            if self._problem is not None:
                await self._recover()
            taken = self._waiting.take_all()
            due = await self._due(taken)
            if taken or due:
                await self._publish(taken, due)
            await self._sweep_a_little()
        except Exception as error:  # noqa: BLE001  # The task must outlive what nobody foresaw, and try again.
            self._fail([*taken, *self._waiting.take_all()], error)
            return False
        except BaseException:
            for waiting in taken:
                waiting.fail(draining())
            raise
        return True

    async def _catch_up(self) -> None:
        try:
            await self._resume()
            await self._repository.finish()
            await self._repository.publish(Change())
            while await self._repository.renew_late(self._settings.max_renewed_at_once):
                pass
            await self._repository.mend(self._settings.files_read_at_start)
        except RefusedError as error:
            if error.reason is not Reason.SIGNING_SUSPENDED:
                raise
            # What is published is served meanwhile, and whoever suspended signing can resume it.
            self._fail([], error)

    async def _take_in(self, waiting: WaitingIntake) -> None:
        try:
            try:
                intake = await waiting.decide(self._repository)
            except WharfingerError as error:
                waiting.fail(error)
                return
            if intake is not None:
                await self._repository.store.stage(intake.encode())
            waiting.succeed(None if intake is None else await self._bring(intake))
        except BaseException as error:
            waiting.fail(publication_failed(error) if isinstance(error, Exception) else draining())
            raise
        self._check.set(0)

    async def _resume(self) -> None:
        """Takes in what was staged, if that was interrupted."""
        intake = await staged_intake(self._repository.store)
        if intake is not None:
            log.info("finishing an import", files=[file_name(file.role, file.version) for file in intake.files])
            await self._bring(intake)

    async def _bring(self, intake: Intake) -> Publication:
        offline = await self._authority.authorise(intake)
        self._repository = replace(self._repository, offline=offline)
        publication = await bring_to_clients(self._repository, intake)
        await self._repository.observe()
        return publication

    async def _recover(self) -> None:
        await self._repository.records.prove_writable()
        await self._resume()
        await self._repository.finish()
        self._problem = None
        log.info("publishing works again")
        # What was prepared long ago may expire soon.
        self._check.set(0)

    async def _due(self, taken: Sequence[WaitingChange]) -> list[str]:
        """What is to be renewed, if it is time to look; with the changes, which have a publication anyway."""
        if self._check.seconds_left > 0:
            return []
        most = self._settings.max_renewed_at_once
        if taken:
            most = min(most, self._settings.max_renewed_with_changes)
        due = await self._repository.due(most)
        self._check.set(0 if len(due) == most else self._settings.renewal_check_seconds)
        return due

    async def _publish(self, taken: Sequence[WaitingChange], due: Sequence[str]) -> None:
        if not await publish_together(self._repository, taken, due):
            self._check.set(0)

    async def _sweep_a_little(self) -> None:
        if self._sweeper is not None and self._sweep.seconds_left == 0:
            self._sweep.set(await self._sweeper.step())

    def _fail(self, waiting: Sequence[WaitingChange], error: Exception) -> None:
        self._problem = str(error)
        foreseen = isinstance(error, WharfingerError)
        log.error("publishing failed and will be tried again", error=str(error), exc_info=None if foreseen else error)
        for one in waiting:
            one.fail(publication_failed(error))

    def _refuse_all(self) -> None:
        self._waiting.fail_all(draining)
        self._intakes.fail_all(draining)

    def _seconds_to_wait(self) -> float:
        check = self._check.seconds_left
        return check if self._sweeper is None else min(check, self._sweep.seconds_left)
