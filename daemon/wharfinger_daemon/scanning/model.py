"""The values of scanning. Everything here is immutable and knows nothing of wire, table or sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum, StrEnum


class SubjectKind(StrEnum):
    """What kind of thing is scanned."""

    PROJECT = "project"
    RELEASE = "release"
    FILE = "file"


@dataclass(frozen=True)
class Subject:
    """What is scanned. ``version`` is empty for a project, ``filename`` for anything but a file."""

    kind: SubjectKind
    project: str
    version: str = ""
    filename: str = ""


class Classification(IntEnum):
    """The conclusion of a scan, ordered by severity."""

    BENIGN = 1
    INDETERMINATE = 2
    THREAT = 3

    @property
    def label(self) -> str:
        """The name as JSON and tables have it, such as ``benign``."""
        return self.name.lower()


class Confidence(IntEnum):
    """How sure a verdict is."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @property
    def label(self) -> str:
        """The name as JSON and tables have it, such as ``low``."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """One piece of evidence of a check, with a place.

    Attributes:
        check: name of the check.
        check_version: version of the check.
        rule: the rule of the check, in kebab case; ``check`` and ``rule`` together name a weight.
        message: what it means, in words.
        member: archive member, nested archives joined by ``!/``; empty for the artifact as a whole.
        line: line in the member, from 1; 0 where there is none.
        excerpt: the line's text, at most 200 characters, control characters escaped.
        weight: what the finding adds to the score. Checks leave it at 0; the scorecard sets it.
    """

    check: str
    check_version: str
    rule: str
    message: str
    member: str = ""
    line: int = 0
    excerpt: str = ""
    weight: float = 0.0


@dataclass(frozen=True)
class Unread:
    """A part of the artifact that was not examined, and why. A scan with any is not complete."""

    member: str
    why: str


@dataclass(frozen=True)
class Examination:
    """What a worker reports of one artifact.

    Attributes:
        findings: the evidence, unweighted, in order of discovery.
        unread: what was not examined.
        seconds: CPU and waiting time in the worker.
    """

    findings: tuple[Finding, ...]
    unread: tuple[Unread, ...]
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """The conclusion: its findings carry their weights, heaviest first."""

    classification: Classification
    confidence: Confidence
    score: float
    findings: tuple[Finding, ...]


class ScanState(Enum):
    """How far a scan has come. FINISHED has a verdict; ERROR has none."""

    SUBMITTED = "submitted"
    CLAIMED = "claimed"
    FINISHED = "finished"
    ERROR = "error"


@dataclass(frozen=True)
class ArtifactPath:
    """A path beneath one of the configured artifact roots, relative to it."""

    path: str


@dataclass(frozen=True)
class ArtifactUrl:
    """An https URL of an allowed host."""

    url: str


ArtifactReference = ArtifactPath | ArtifactUrl


@dataclass(frozen=True)
class Scan:
    """A scan and what came of it. ``reference`` is None when the bytes were streamed."""

    scan_id: str
    subject: Subject
    sha256: str
    rule_set: str
    state: ScanState
    submitted_at: datetime
    reference: ArtifactReference | None = None
    verdict: Verdict | None = None
    error: str = ""
    seconds: float = 0.0
    finished_at: datetime | None = None
