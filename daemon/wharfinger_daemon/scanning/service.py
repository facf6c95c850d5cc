"""The life of a scan: submitted, claimed, finished or failed; at most one run at a time for each.

Rules of the whole module:
  (1) Subject, digest and rule set name a scan. A finished one is replayed; a failed one may be submitted again; one
      that is under way is shared by everybody who asks for it.
  (2) A run belongs to nobody: a caller that goes away does not end it, and finds its result by asking again.
  (3) What fails because of its content is FINISHED and indeterminate; what fails otherwise is ERROR, without a verdict.
  (4) A scan by reference survives a restart. Streamed bytes do not: such a scan becomes ERROR and says so.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import OverloadedError, Reason, UnavailableError
from wharfinger_daemon.scanning.artifacts import Spooled, spool
from wharfinger_daemon.scanning.model import ArtifactReference, Scan, ScanState, Subject
from wharfinger_daemon.scanning.pages import ScanPage, bounded_page_size, position_of, token_after
from wharfinger_daemon.scanning.ports import ArtifactSource, Examiner, ScanFilter, ScanRecords
from wharfinger_daemon.scanning.run import Outcome, ScanPolicy, ScanRunner
from wharfinger_daemon.scanning.submission import require_file, require_sha256

INTERRUPTED = "The daemon stopped during this scan, and the streamed bytes are gone. Submit the artifact again."


@dataclass
class _Run:
    """A scan that this process has taken on; ``begun`` once it has a slot, ``durable`` if a restart can repeat it."""

    task: asyncio.Task[Outcome]
    durable: bool
    begun: bool = False


@dataclass(frozen=True)
class _Submission:
    """A submitted scan; ``run`` is None when it has its verdict, ``owned`` when this submission began the run."""

    scan: Scan
    run: _Run | None
    owned: bool


def _ignore(scan: Scan) -> None:
    """Nobody counts."""


class ScanService:
    """Accepts, runs and reads scans. Call ``start`` first and ``close`` last.

    Args:
        observer: told of each scan that finished or failed in this process, for metrics. It must not raise.
    """

    def __init__(
        self,
        records: ScanRecords,
        examiner: Examiner,
        source: ArtifactSource,
        clock: Clock,
        policy: ScanPolicy,
        observer: Callable[[Scan], None] = _ignore,
    ) -> None:
        self._records = records
        self._examiner = examiner
        self._source = source
        self._clock = clock
        self._policy = policy
        self._runner = ScanRunner(records, examiner, source, clock, policy)
        self._observer = observer
        self._slots = asyncio.Semaphore(policy.concurrent)
        self._submitting = asyncio.Lock()
        self._runs: dict[str, _Run] = {}
        self._receiving = 0
        self._closing = False

    async def start(self) -> None:
        """Takes up what a former process left: runs scans by reference, fails streamed ones."""
        for scan in await self._records.unfinished():
            if scan.reference is None:
                self._observer(await self._records.fail(scan.scan_id, INTERRUPTED, self._clock.now()))
            else:
                self._take_on(scan, None)

    async def close(self, drain_seconds: float) -> None:
        """Takes on nothing more, waits for what runs or was streamed, and leaves what only waits to the next start."""
        self._closing = True
        for run in self._runs.values():
            if run.durable and not run.begun:
                run.task.cancel()
        tasks = [run.task for run in self._runs.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def scan_stream(self, subject: Subject, sha256: str, chunks: AsyncIterator[bytes]) -> tuple[Scan, bool]:
        """Scans streamed bytes, and answers when there is a result.

        Args:
            sha256: what the bytes must have; empty if the caller does not say.

        Returns:
            The scan in FINISHED, or in ERROR after a failure inside the daemon; and whether it was scanned before.

        Raises:
            InvalidRequestError: SUBJECT_INVALID, MALFORMED_REQUEST or DIGEST_MISMATCH.
            OverloadedError: SCAN_QUEUE_FULL or ARTIFACT_TOO_LARGE.
            UnavailableError: the examiner or the records do not answer, or the daemon stops.
        """
        require_file(subject)
        if sha256:
            require_sha256(sha256)
        self._require_room()
        self._receiving += 1
        try:
            spooled = await spool(chunks, expected_sha256=sha256, max_bytes=self._policy.artifact_bytes)
        finally:
            self._receiving -= 1
        return await self._scan_spooled(subject, spooled)

    async def create(self, subject: Subject, sha256: str, reference: ArtifactReference) -> tuple[Scan, bool]:
        """Queues the scan of an artifact that the daemon reads by itself; it is durable when this returns.

        Returns:
            The scan as it stands; and whether it was submitted before.

        Raises:
            InvalidRequestError: SUBJECT_INVALID or MALFORMED_REQUEST.
            NotGrantedError: ARTIFACT_OUTSIDE_ROOTS or HOST_NOT_ALLOWED.
            NotFoundError: ARTIFACT_NOT_FOUND.
            OverloadedError: SCAN_QUEUE_FULL.
            UnavailableError: the records do not answer, or the daemon stops.
        """
        require_file(subject)
        require_sha256(sha256)
        known = await self._records.find(subject, sha256, self._examiner.rule_set)
        if known is not None and known.state is ScanState.FINISHED:
            return known, True
        await self._source.check(reference)
        submission = await self._submit(self._new(subject, sha256, reference), None)
        return submission.scan, not submission.owned

    async def get(self, scan_id: str) -> Scan:
        """One scan with its findings.

        Raises:
            NotFoundError: SCAN_NOT_FOUND.
        """
        return await self._records.get(scan_id)

    async def list_scans(self, scan_filter: ScanFilter, page_size: int = 0, page_token: str = "") -> ScanPage:
        """One page of scans, newest first, without findings.

        Raises:
            InvalidRequestError: PAGE_TOKEN_INVALID, or MALFORMED_REQUEST for a negative size.
        """
        size = bounded_page_size(page_size)
        position = position_of(page_token, scan_filter)
        found = await self._records.list(scan_filter, size + 1, position)
        scans = tuple(found[:size])
        return ScanPage(scans=scans, next_page_token=token_after(scans[-1], scan_filter) if len(found) > size else "")

    async def _scan_spooled(self, subject: Subject, spooled: Spooled) -> tuple[Scan, bool]:
        new = self._new(subject, spooled.sha256, None)
        owned = False
        try:
            while True:
                submission = await self._submit(new, spooled)
                owned = submission.owned
                if submission.run is None:
                    return submission.scan, True
                outcome = await _outcome_of(submission.run)
                if owned and outcome.failure is not None:
                    raise outcome.failure
                if owned or outcome.scan.state is ScanState.FINISHED:
                    return outcome.scan, not owned
                # The run that this one had joined failed; it may have had another source of the bytes. Use ours.
        finally:
            if not owned:
                spooled.file.close()

    async def _submit(self, new: Scan, spooled: Spooled | None) -> _Submission:
        # One at a time, or a second submission could see the row before the first has its run.
        async with self._submitting:
            known = await self._records.find(new.subject, new.sha256, new.rule_set)
            if known is not None and known.state is ScanState.FINISHED:
                return _Submission(known, run=None, owned=False)
            if known is not None and (run := self._runs.get(known.scan_id)) is not None:
                return _Submission(known, run=run, owned=False)
            if spooled is None:
                self._require_room()
            scan, _ = await self._records.submit(new)
            # A row without a run here was left by a run whose result could not be stored: it is ours to run.
            run = self._take_on(replace(scan, reference=new.reference), spooled)
            return _Submission(scan, run=run, owned=True)

    def _take_on(self, scan: Scan, spooled: Spooled | None) -> _Run:
        task = asyncio.create_task(self._execute(scan, spooled), name=f"scan {scan.scan_id}")
        run = _Run(task=task, durable=spooled is None)
        self._runs[scan.scan_id] = run

        def settle(done: asyncio.Task[Outcome]) -> None:
            del self._runs[scan.scan_id]
            if spooled is not None:
                spooled.file.close()  # A task that was cancelled before its first step has not closed it.
            if not done.cancelled():
                self._observer(done.result().scan)

        task.add_done_callback(settle)
        return run

    async def _execute(self, scan: Scan, spooled: Spooled | None) -> Outcome:
        async with self._slots:
            self._runs[scan.scan_id].begun = True
            return await self._runner.run(scan, spooled)

    def _require_room(self) -> None:
        if self._closing:
            raise UnavailableError("The daemon is stopping. Submit again in a moment.", reason=Reason.DRAINING)
        if len(self._runs) + self._receiving >= self._policy.concurrent + self._policy.waiting:
            raise OverloadedError(
                f"{len(self._runs) + self._receiving} scans are running or waiting, which is all there is room for. "
                "Submit again later.",
                reason=Reason.SCAN_QUEUE_FULL,
            )

    def _new(self, subject: Subject, sha256: str, reference: ArtifactReference | None) -> Scan:
        return Scan(
            scan_id=str(uuid.uuid4()),
            subject=subject,
            sha256=sha256,
            rule_set=self._examiner.rule_set,
            state=ScanState.SUBMITTED,
            submitted_at=self._clock.now(),
            reference=reference,
        )


async def _outcome_of(run: _Run) -> Outcome:
    """Waits for a run without owning it: a caller that is cancelled leaves it running."""
    try:
        return await asyncio.shield(run.task)
    except asyncio.CancelledError:
        this = asyncio.current_task()
        if run.task.cancelled() and this is not None and not this.cancelling():
            raise UnavailableError(
                "The daemon stopped before this scan was done. Submit the artifact again.", reason=Reason.DRAINING
            ) from None
        raise
