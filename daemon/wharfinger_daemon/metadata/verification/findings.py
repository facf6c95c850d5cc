"""What a verification finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """``ERROR``: clients refuse it, or would be deceived; ``WARNING``: soon, or some of them."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(StrEnum):
    """The rules, by their stable names; ``docs/reference/repository-rules.md`` describes them."""

    FILE_MISSING = "file-missing"
    FILE_TOO_LARGE = "file-too-large"
    FILE_UNREADABLE = "file-unreadable"
    NOT_METADATA = "not-metadata"
    DUPLICATE_KEY = "duplicate-key"
    NOT_CANONICAL = "not-canonical"
    WRONG_VERSION = "wrong-version"
    WRONG_CONTENT = "wrong-content"
    THRESHOLD_NOT_MET = "threshold-not-met"
    EXPIRED = "expired"
    EXPIRES_SOON = "expires-soon"
    ROOT_NOT_PINNED = "root-not-pinned"
    ROOT_NOT_TRUSTED = "root-not-trusted"
    ROOTS_TOO_MANY = "roots-too-many"
    NO_CONSISTENT_SNAPSHOT = "no-consistent-snapshot"
    ROLE_NOT_NAMED = "role-not-named"
    ROLE_NOT_DELEGATED = "role-not-delegated"
    NOT_FOLLOWED = "not-followed"
    TOO_MANY_ROLES = "too-many-roles"
    TARGET_INVALID = "target-invalid"
    TARGET_MISPLACED = "target-misplaced"
    ROLLBACK = "rollback"
    EQUIVOCATION = "equivocation"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        file: the name of the metadata file.
    """

    file: str
    severity: Severity
    rule: Rule
    message: str


@dataclass
class Report:
    """What was looked at, and what was found.

    Attributes:
        versions: of root, timestamp, snapshot, and every role that the snapshot names.
        digests: of each verified file, by name, hexadecimal SHA-256.
        targets: how many the bins list.
    """

    versions: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    targets: int = 0
    findings: list[Finding] = field(default_factory=list)

    def error(self, file: str, rule: Rule, message: str) -> None:
        """Adds an error."""
        self.findings.append(Finding(file, Severity.ERROR, rule, message))

    def warning(self, file: str, rule: Rule, message: str) -> None:
        """Adds a warning."""
        self.findings.append(Finding(file, Severity.WARNING, rule, message))

    def note(self, file: str, rule: Rule, message: str) -> None:
        """Adds what is no fault."""
        self.findings.append(Finding(file, Severity.NOTE, rule, message))

    def add(self, findings: Sequence[Finding], digests: dict[str, str], targets: int) -> None:
        """Adds what was found in some bins."""
        self.findings += findings
        self.digests |= digests
        self.targets += targets

    def count(self, severity: Severity) -> int:
        """How many findings there are of a severity."""
        return sum(one.severity is severity for one in self.findings)
