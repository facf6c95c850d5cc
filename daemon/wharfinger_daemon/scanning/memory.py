"""Scans in memory: a fake for tests that keeps the rules of ``ports.ScanRecords``. Nothing in it is durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from wharfinger_daemon.errors import NotFoundError, Reason
from wharfinger_daemon.scanning.model import Scan, ScanState, Subject, Verdict
from wharfinger_daemon.scanning.ports import SUPERSEDED, ScanFilter, ScanPosition

_UNFINISHED = (ScanState.SUBMITTED, ScanState.CLAIMED)


class MemoryScanRecords:
    """``ports.ScanRecords`` in a dictionary."""

    def __init__(self) -> None:
        self._scans: dict[str, Scan] = {}

    async def find(self, subject: Subject, sha256: str, rule_set: str) -> Scan | None:
        identity = (subject, sha256, rule_set)
        return next(
            (scan for scan in self._scans.values() if (scan.subject, scan.sha256, scan.rule_set) == identity), None
        )

    async def submit(self, scan: Scan) -> tuple[Scan, bool]:
        known = await self.find(scan.subject, scan.sha256, scan.rule_set)
        if known is not None and known.state is not ScanState.ERROR:
            return known, True
        submitted = scan if known is None else replace(scan, scan_id=known.scan_id)
        self._scans[submitted.scan_id] = submitted
        return submitted, False

    async def claim(self, scan_id: str, rule_set: str, claimed_at: datetime) -> Scan | None:
        scan = self._scans.get(scan_id)
        if scan is None or scan.state not in _UNFINISHED:
            return None
        other = await self.find(scan.subject, scan.sha256, rule_set)
        if other is not None and other.scan_id != scan_id:
            error = SUPERSEDED.format(scan_id=other.scan_id)
            self._scans[scan_id] = replace(scan, state=ScanState.ERROR, error=error, finished_at=claimed_at)
            return None
        self._scans[scan_id] = replace(scan, state=ScanState.CLAIMED, rule_set=rule_set)
        return self._scans[scan_id]

    async def finish(self, scan_id: str, verdict: Verdict, seconds: float, finished_at: datetime) -> Scan:
        scan = await self.get(scan_id)
        if scan.state in _UNFINISHED:
            self._scans[scan_id] = replace(
                scan, state=ScanState.FINISHED, verdict=verdict, seconds=seconds, finished_at=finished_at
            )
        return self._scans[scan_id]

    async def fail(self, scan_id: str, error: str, finished_at: datetime) -> Scan:
        scan = await self.get(scan_id)
        if scan.state in _UNFINISHED:
            self._scans[scan_id] = replace(scan, state=ScanState.ERROR, error=error, finished_at=finished_at)
        return self._scans[scan_id]

    async def get(self, scan_id: str) -> Scan:
        if scan_id not in self._scans:
            raise NotFoundError("There is no scan with this identifier.", reason=Reason.SCAN_NOT_FOUND)
        return self._scans[scan_id]

    async def list(self, scan_filter: ScanFilter, limit: int, after: ScanPosition | None = None) -> Sequence[Scan]:
        newest_first = sorted(self._scans.values(), key=lambda scan: (scan.submitted_at, scan.scan_id), reverse=True)
        behind = [
            _without_findings(scan)
            for scan in newest_first
            if _matches(scan, scan_filter)
            and (after is None or (scan.submitted_at, scan.scan_id) < (after.submitted_at, after.scan_id))
        ]
        return behind[:limit]

    async def unfinished(self) -> Sequence[Scan]:
        left = [scan for scan in self._scans.values() if scan.state in _UNFINISHED]
        return sorted(left, key=lambda scan: (scan.submitted_at, scan.scan_id))


def _matches(scan: Scan, scan_filter: ScanFilter) -> bool:
    classification = scan.verdict.classification if scan.verdict is not None else None
    return (
        scan_filter.project in ("", scan.subject.project)
        and scan_filter.sha256 in ("", scan.sha256)
        and scan_filter.classification in (None, classification)
        and scan_filter.state in (None, scan.state)
    )


def _without_findings(scan: Scan) -> Scan:
    return scan if scan.verdict is None else replace(scan, verdict=replace(scan.verdict, findings=()))
