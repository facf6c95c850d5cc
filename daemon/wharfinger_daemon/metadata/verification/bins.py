"""Verifies the roles that list targets: many thousand files, each for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from wharfinger_daemon.errors import InvalidRequestError
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.metadata.verification.documents import (
    Document,
    DocumentReader,
    RepositoryFiles,
    parse_delegations,
)
from wharfinger_daemon.metadata.verification.findings import Finding, Report, Rule

# Of targets that are wrong, so many are named for each file.
_NAMED = 5


@dataclass(frozen=True)
class BinsJob:
    """What the bins of one delegation are verified by. It can be sent to another process.

    Attributes:
        delegator: the file that delegates.
        delegations: its ``delegations``, as JSON.
    """

    delegator: str
    delegations: bytes
    now: datetime
    headroom: timedelta


@dataclass(frozen=True)
class BinsOutcome:
    """What was found in some bins.

    Attributes:
        digests: hexadecimal SHA-256 of each file.
        targets: how many they list.
    """

    findings: Sequence[Finding]
    digests: Mapping[str, str]
    targets: int


class BinVerifier:
    """Verifies bins of one delegation."""

    def __init__(self, job: BinsJob, files: RepositoryFiles) -> None:
        self._job = job
        self._files = files
        self._delegator = parse_delegations(job.delegations)

    def verify(self, versions: Mapping[str, int]) -> BinsOutcome:
        """Verifies these versions of these bins."""
        report = Report()
        reader = DocumentReader(self._files, report, self._job.now, self._job.headroom)
        for role, version in versions.items():
            document = reader.read(f"{version}.{role}.json", "targets")
            if document is not None:
                self._verify(document, role, version, reader)
        return BinsOutcome(report.findings, report.digests, report.targets)

    def _verify(self, document: Document, role: str, version: int, reader: DocumentReader) -> None:
        report = reader.report
        report.digests[document.file] = document.digest
        reader.verify(document, self._delegator, role, self._job.delegator)
        reader.require_version(document, version, "the snapshot")
        reader.require_unexpired(document)
        if document.signed.get("delegations") is not None:
            report.warning(document.file, Rule.NOT_FOLLOWED, "it delegates further, and that was not verified")
        verify_listing(document, self._membership(role), report)

    def _membership(self, role: str) -> Callable[[str], bool]:
        delegations = self._delegator.delegations
        assert delegations is not None  # It has nothing else.
        succinct = delegations.succinct_roles
        if succinct is not None:
            return lambda path: succinct.get_role_for_target(path) == role
        return (delegations.roles or {})[role].is_delegated_path


def verify_listing(document: Document, belongs: Callable[[str], bool], report: Report) -> None:
    """Verifies what a role lists, and counts it.

    Args:
        belongs: whether clients look for a path in this role.
    """
    listed = document.signed.get("targets")
    if not isinstance(listed, dict):
        report.error(document.file, Rule.NOT_METADATA, "it is no targets metadata: it has no targets")
        return
    report.targets += len(listed)
    wrong = 0
    for path, described in listed.items():
        finding = _finding(path, described, belongs)
        if finding is not None:
            wrong += 1
            if wrong <= _NAMED:
                report.error(document.file, *finding)
    if wrong > _NAMED:
        rule = Rule.TARGET_INVALID
        report.error(document.file, rule, f"{wrong - _NAMED} more targets are invalid or misplaced")


def _finding(path: str, described: Any, belongs: Callable[[str], bool]) -> tuple[Rule, str] | None:
    shown = ascii(path)[1:-1][:200]
    try:
        hashes, length = described["hashes"], described["length"]
        if not all(isinstance(value, str) for value in hashes.values()):
            raise ValueError("its hashes are no texts")
        Target(path, length, hashes)
    except InvalidRequestError as error:
        return Rule.TARGET_INVALID, error.message
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return Rule.TARGET_INVALID, f"target '{shown}' has no length and hashes that clients can read ({error})"
    if not belongs(path):
        return Rule.TARGET_MISPLACED, f"clients do not look for '{shown}' in this role"
    return None
