"""The values of scanning.

What a newer daemon may say and this client does not know becomes ``UNKNOWN`` or None, and never something harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self


class SubjectKind(StrEnum):
    """What kind of thing is scanned."""

    UNKNOWN = "unknown"
    PROJECT = "project"
    RELEASE = "release"
    FILE = "file"


class ScanState(StrEnum):
    """How far a scan has come."""

    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    CLAIMED = "claimed"
    FINISHED = "finished"
    ERROR = "error"


class Classification(StrEnum):
    """The conclusion of a finished scan. A scan without one is never to be read as benign."""

    BENIGN = "benign"
    INDETERMINATE = "indeterminate"
    THREAT = "threat"


class Confidence(StrEnum):
    """How sure a verdict is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True)
class Subject:
    """What is scanned. ``version`` is empty for a project, ``filename`` for anything but a file."""

    kind: SubjectKind
    project: str
    version: str = ""
    filename: str = ""

    @classmethod
    def file(cls, *, project: str, version: str, filename: str) -> Self:
        """A file of a release."""
        return cls(SubjectKind.FILE, project, version, filename)


@dataclass(frozen=True)
class ArtifactPath:
    """A path beneath one of the artifact roots in the daemon's configuration, relative to it."""

    path: str


@dataclass(frozen=True)
class ArtifactUrl:
    """An https URL of a host that the daemon's configuration allows."""

    url: str


@dataclass(frozen=True)
class Finding:
    """One piece of evidence.

    Attributes:
        member: the archive member, with nested archives joined by ``!/``; empty for the artifact as a whole.
        line: from 1; 0 where there is none.
        excerpt: the line's text, shortened, control characters escaped.
        weight: what it adds to the score.
    """

    check: str
    check_version: str
    rule: str
    member: str
    line: int
    excerpt: str
    message: str
    weight: float


@dataclass(frozen=True)
class Scan:
    """A scan and what came of it.

    Attributes:
        classification: None unless the scan is finished. None is never to be read as benign.
        error: why the scan could not be done; empty otherwise.
        seconds: the time that it took in its worker.
    """

    scan_id: str
    subject: Subject
    sha256: str
    rule_set: str
    state: ScanState
    classification: Classification | None
    confidence: Confidence | None
    score: float
    findings: tuple[Finding, ...]
    error: str
    seconds: float
    submitted_at: datetime | None
    finished_at: datetime | None

    @property
    def done(self) -> bool:
        """True if nothing more will come: the scan is finished, or could not be done."""
        return self.state in (ScanState.FINISHED, ScanState.ERROR)


@dataclass(frozen=True)
class ScanReply:
    """A scan, and whether the daemon knew it already: the same subject, bytes and rule set."""

    scan: Scan
    replayed: bool
