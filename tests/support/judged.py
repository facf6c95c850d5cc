"""Verdicts to review, in a database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wharfinger_daemon.audit.leaf import Leaf
from wharfinger_daemon.scanning.model import (
    Classification,
    Confidence,
    Finding,
    Scan,
    ScanState,
    Subject,
    SubjectKind,
    Verdict,
)
from wharfinger_daemon.scanning.ports import ScanRecords
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.reviews import SqlReviewRecords
from wharfinger_daemon.storage.scans import SqlScanRecords

AT = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class Reviewing:
    """Scans and reviews of one database; ``told`` has the leaves of one without an audit log."""

    database: Database
    scans: SqlScanRecords
    reviews: SqlReviewRecords
    told: list[Leaf] = field(default_factory=list)


def finding(check: str = "eager-code", weight: float = 10.0, **changes: object) -> Finding:
    values: dict[str, object] = {
        "check": check,
        "check_version": "1",
        "rule": "install-decoded-execution",
        "message": "Text that is decoded is executed when the package is installed.",
        "member": "sample-1.0/setup.py",
        "line": 7,
        "excerpt": "exec(base64.b64decode('cHJpbnQoMSk='))",
        "weight": weight,
    }
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


async def judged(
    records: ScanRecords,
    project: str,
    score: float = 12.0,
    *,
    at: datetime = AT,
    findings: Sequence[Finding] | None = None,
    version: str = "1.0",
    confidence: Confidence = Confidence.MEDIUM,
) -> str:
    """A finished scan of that score; returns its identifier, which looks random and is not."""
    evidence = tuple([finding(weight=score)] if findings is None else findings)
    digest = hashlib.sha256(f"{project} {version}".encode()).hexdigest()
    scan_id = f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
    subject = Subject(SubjectKind.FILE, project, version, f"{project}-{version}.tar.gz")
    await records.submit(Scan(scan_id, subject, digest, "0" * 64, ScanState.SUBMITTED, at))
    level = Classification.THREAT if score >= 10 else Classification.INDETERMINATE
    classification = Classification.BENIGN if score < 4 else level
    await records.finish(scan_id, Verdict(classification, confidence, score, evidence), 0.5, at)
    return scan_id
