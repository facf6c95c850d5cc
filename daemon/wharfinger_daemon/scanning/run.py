"""One run of one scan: claim, read, examine, conclude, store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import structlog

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.scanning.artifacts import Spooled, spool
from wharfinger_daemon.scanning.examining import examined
from wharfinger_daemon.scanning.model import Examination, Scan, ScanState
from wharfinger_daemon.scanning.ports import ArtifactSource, Examiner, ScanRecords
from wharfinger_daemon.scanning.scorecard import Scorecard

_log = structlog.get_logger("wharfinger.scanning")

FAILED_INSIDE = (
    "The scan failed inside the daemon, not because of the artifact. Submit it again; the log has the cause."
)


@dataclass(frozen=True)
class ScanPolicy:
    """Limits and judgement.

    Attributes:
        artifact_bytes: the largest artifact that is accepted.
        concurrent: scans that run at the same time.
        waiting: scans and streams that may wait, or be received, beyond those.
        scorecard: weights and thresholds.
    """

    artifact_bytes: int
    concurrent: int
    waiting: int
    scorecard: Scorecard = field(default_factory=Scorecard)


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        scan: in FINISHED or ERROR.
        failure: the error that made it ERROR, if it is one that callers know.
    """

    scan: Scan
    failure: WharfingerError | None = None


class ScanRunner:
    """Runs scans, each from its claim to its stored result."""

    def __init__(
        self, records: ScanRecords, examiner: Examiner, source: ArtifactSource, clock: Clock, policy: ScanPolicy
    ) -> None:
        self._records = records
        self._examiner = examiner
        self._source = source
        self._clock = clock
        self._policy = policy

    async def run(self, scan: Scan, spooled: Spooled | None) -> Outcome:
        """Runs a scan on the spooled bytes, or on those that its reference names. Never raises an ``Exception``."""
        try:
            now = self._clock.now()
            if await self._records.claim(scan.scan_id, self._examiner.rule_set, now) is None:
                return Outcome(await self._records.get(scan.scan_id))
            examination = await self._examined(scan, spooled)
            verdict = self._policy.scorecard.judge(examination)
            stored = await self._records.finish(scan.scan_id, verdict, examination.seconds, self._clock.now())
            return Outcome(stored)
        except WharfingerError as error:
            return await self._failed(scan, error.message, error)
        except Exception:  # noqa: BLE001 - a defect that one scan meets must not end the service, nor pass for a verdict
            _log.exception("scan-failed-inside", scan_id=scan.scan_id)
            return await self._failed(scan, FAILED_INSIDE, None)

    async def _examined(self, scan: Scan, spooled: Spooled | None) -> Examination:
        artifact = spooled if spooled is not None else await self._read(scan)
        try:
            return await examined(self._examiner, artifact.file, scan.subject)
        finally:
            artifact.file.close()

    async def _read(self, scan: Scan) -> Spooled:
        assert scan.reference is not None  # Streamed scans come with their bytes.
        chunks = self._source.chunks(scan.reference)
        return await spool(chunks, expected_sha256=scan.sha256, max_bytes=self._policy.artifact_bytes)

    async def _failed(self, scan: Scan, message: str, failure: WharfingerError | None) -> Outcome:
        now = self._clock.now()
        try:
            return Outcome(await self._records.fail(scan.scan_id, message, now), failure)
        except WharfingerError as error:
            # The records do not answer: the scan stays unfinished there, and is taken up by the next submission
            # or the next start.
            _log.warning("scan-result-not-stored", scan_id=scan.scan_id, error=error.message)
            return Outcome(replace(scan, state=ScanState.ERROR, error=message, finished_at=now), failure or error)
