"""Scans and their findings in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from wharfinger_daemon.errors import NotFoundError, Reason
from wharfinger_daemon.scanning.model import (
    ArtifactPath,
    ArtifactReference,
    ArtifactUrl,
    Classification,
    Confidence,
    Finding,
    Scan,
    ScanState,
    Subject,
    SubjectKind,
    Verdict,
)
from wharfinger_daemon.scanning.ports import SUPERSEDED, ScanFilter, ScanPosition
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.scan_schema import findings, scans

# An advisory lock has two numbers; the first says what it is about.
_IDENTITY_LOCK = 0x7363
_UNFINISHED = (ScanState.SUBMITTED.value, ScanState.CLAIMED.value)


class SqlScanRecords:
    """``scanning.ports.ScanRecords`` on the tables ``scans`` and ``findings``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, subject: Subject, sha256: str, rule_set: str) -> Scan | None:
        def work(connection: Connection) -> Scan | None:
            row = connection.execute(select(scans).where(_identity(subject, sha256, rule_set))).one_or_none()
            return None if row is None else _with_findings(connection, row)

        return await self._database.read(work)

    async def submit(self, scan: Scan) -> tuple[Scan, bool]:
        def work(connection: Connection) -> tuple[Scan, bool]:
            identity = _identity(scan.subject, scan.sha256, scan.rule_set)
            _lock_identity(connection, scan.sha256)
            try:
                with connection.begin_nested():
                    connection.execute(insert(scans).values(_values(scan)))
                return scan, False
            except IntegrityError:
                row = connection.execute(select(scans).where(identity).with_for_update()).one()
            if row.state != ScanState.ERROR.value:
                return _with_findings(connection, row), True
            anew = replace(scan, scan_id=row.scan_id)
            connection.execute(update(scans).where(scans.c.scan_id == row.scan_id).values(_values(anew)))
            return anew, False

        return await self._database.run(work)

    async def claim(self, scan_id: str, rule_set: str, claimed_at: datetime) -> Scan | None:
        def work(connection: Connection) -> Scan | None:
            row = connection.execute(select(scans).where(_unfinished(scan_id)).with_for_update()).one_or_none()
            if row is None:
                return None
            _lock_identity(connection, row.sha256)
            subject = Subject(SubjectKind(row.subject_kind), row.project, row.version, row.filename)
            same = and_(_identity(subject, row.sha256, rule_set), scans.c.scan_id != scan_id)
            other = connection.execute(select(scans.c.scan_id).where(same)).scalar_one_or_none()
            change: dict[str, Any] = {"state": ScanState.CLAIMED.value, "rule_set": rule_set}
            if other is not None:
                change = {
                    "state": ScanState.ERROR.value,
                    "error": SUPERSEDED.format(scan_id=other),
                    "finished_at": claimed_at,
                }
            connection.execute(update(scans).where(scans.c.scan_id == scan_id).values(change))
            return _read(connection, scan_id) if other is None else None

        return await self._database.run(work)

    async def finish(self, scan_id: str, verdict: Verdict, seconds: float, finished_at: datetime) -> Scan:
        def work(connection: Connection) -> Scan:
            result = {
                "state": ScanState.FINISHED.value,
                "classification": verdict.classification.label,
                "confidence": verdict.confidence.label,
                "score": verdict.score,
                "seconds": seconds,
                "finished_at": finished_at,
            }
            if connection.execute(update(scans).where(_unfinished(scan_id)).values(result)).rowcount:
                connection.execute(delete(findings).where(findings.c.scan_id == scan_id))
                if verdict.findings:
                    connection.execute(
                        insert(findings), [_finding_values(scan_id, finding) for finding in verdict.findings]
                    )
            return _read(connection, scan_id)

        return await self._database.run(work)

    async def fail(self, scan_id: str, error: str, finished_at: datetime) -> Scan:
        def work(connection: Connection) -> Scan:
            result = {"state": ScanState.ERROR.value, "error": error, "finished_at": finished_at}
            connection.execute(update(scans).where(_unfinished(scan_id)).values(result))
            return _read(connection, scan_id)

        return await self._database.run(work)

    async def get(self, scan_id: str) -> Scan:
        return await self._database.read(lambda connection: _read(connection, scan_id))

    async def list(self, scan_filter: ScanFilter, limit: int, after: ScanPosition | None = None) -> Sequence[Scan]:
        query = (
            select(scans)
            .where(*_conditions(scan_filter, after))
            .order_by(scans.c.submitted_at.desc(), scans.c.scan_id.desc())
            .limit(limit)
        )
        return await self._database.read(lambda connection: [_scan(row, ()) for row in connection.execute(query)])

    async def unfinished(self) -> Sequence[Scan]:
        query = select(scans).where(scans.c.state.in_(_UNFINISHED)).order_by(scans.c.submitted_at, scans.c.scan_id)
        return await self._database.read(lambda connection: [_scan(row, ()) for row in connection.execute(query)])


def _lock_identity(connection: Connection, sha256: str) -> None:
    """Has those that give scans of the same content an identity run one after another; SQLite's writers do anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_IDENTITY_LOCK, func.hashtext(sha256))))


def _identity(subject: Subject, sha256: str, rule_set: str) -> ColumnElement[bool]:
    return and_(
        scans.c.subject_kind == subject.kind.value,
        scans.c.project == subject.project,
        scans.c.version == subject.version,
        scans.c.filename == subject.filename,
        scans.c.sha256 == sha256,
        scans.c.rule_set == rule_set,
    )


def _unfinished(scan_id: str) -> ColumnElement[bool]:
    return and_(scans.c.scan_id == scan_id, scans.c.state.in_(_UNFINISHED))


def _conditions(scan_filter: ScanFilter, after: ScanPosition | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if scan_filter.project:
        conditions.append(scans.c.project == scan_filter.project)
    if scan_filter.sha256:
        conditions.append(scans.c.sha256 == scan_filter.sha256)
    if scan_filter.classification is not None:
        conditions.append(scans.c.classification == scan_filter.classification.label)
    if scan_filter.state is not None:
        conditions.append(scans.c.state == scan_filter.state.value)
    if after is not None:
        same_instant = and_(scans.c.submitted_at == after.submitted_at, scans.c.scan_id < after.scan_id)
        conditions.append(or_(scans.c.submitted_at < after.submitted_at, same_instant))
    return conditions


def _values(scan: Scan) -> dict[str, Any]:
    """The row of a scan that was just submitted: without any result."""
    reference = scan.reference
    return {
        "scan_id": scan.scan_id,
        "subject_kind": scan.subject.kind.value,
        "project": scan.subject.project,
        "version": scan.subject.version,
        "filename": scan.subject.filename,
        "sha256": scan.sha256,
        "rule_set": scan.rule_set,
        "state": ScanState.SUBMITTED.value,
        "artifact_path": reference.path if isinstance(reference, ArtifactPath) else None,
        "artifact_url": reference.url if isinstance(reference, ArtifactUrl) else None,
        "error": "",
        "seconds": 0.0,
        "submitted_at": scan.submitted_at,
        "finished_at": None,
    }


def _finding_values(scan_id: str, finding: Finding) -> dict[str, Any]:
    return {
        "scan_id": scan_id,
        "check_name": finding.check,
        "check_version": finding.check_version,
        "rule": finding.rule,
        "member": finding.member,
        "line": finding.line,
        "excerpt": finding.excerpt,
        "message": finding.message,
        "weight": finding.weight,
    }


def _read(connection: Connection, scan_id: str) -> Scan:
    row = connection.execute(select(scans).where(scans.c.scan_id == scan_id)).one_or_none()
    if row is None:
        raise NotFoundError("There is no scan with this identifier.", reason=Reason.SCAN_NOT_FOUND)
    return _with_findings(connection, row)


def _with_findings(connection: Connection, row: Row[Any]) -> Scan:
    query = select(findings).where(findings.c.scan_id == row.scan_id).order_by(findings.c.id)
    return _scan(row, tuple(_finding(found) for found in connection.execute(query)))


def _finding(row: Row[Any]) -> Finding:
    return Finding(
        check=row.check_name,
        check_version=row.check_version,
        rule=row.rule,
        message=row.message,
        member=row.member,
        line=row.line,
        excerpt=row.excerpt,
        weight=row.weight,
    )


def _scan(row: Row[Any], evidence: tuple[Finding, ...]) -> Scan:
    verdict = None
    if row.classification is not None:
        verdict = Verdict(
            classification=Classification[row.classification.upper()],
            confidence=Confidence[row.confidence.upper()],
            score=row.score,
            findings=evidence,
        )
    return Scan(
        scan_id=row.scan_id,
        subject=Subject(SubjectKind(row.subject_kind), row.project, row.version, row.filename),
        sha256=row.sha256,
        rule_set=row.rule_set,
        state=ScanState(row.state),
        submitted_at=row.submitted_at,
        reference=_reference(row),
        verdict=verdict,
        error=row.error,
        seconds=row.seconds,
        finished_at=row.finished_at,
    )


def _reference(row: Row[Any]) -> ArtifactReference | None:
    if row.artifact_path is not None:
        return ArtifactPath(row.artifact_path)
    return None if row.artifact_url is None else ArtifactUrl(row.artifact_url)
