"""Runs checks over an artifact. A check that fails costs only what it would have found, and the scan is incomplete."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from wharfinger_daemon.scanning.archives import ArchiveLimits, open_artifact
from wharfinger_daemon.scanning.archives.names import printable
from wharfinger_daemon.scanning.deadline import Deadline, Overrun
from wharfinger_daemon.scanning.model import Examination, Finding, Subject, Unread
from wharfinger_daemon.scanning.plugin import Anomaly, Check, Evidence, Member, ScanContext, excerpt, need_of
from wharfinger_daemon.scanning.prepass import Prepass
from wharfinger_daemon.scanning.remembered import Remembered

_RULE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RULE_CHARACTERS = 64
_MESSAGE_CHARACTERS = 500
_MAX_LINE = 2**31 - 1
_NO_CHECKS = Prepass(())


@dataclass(frozen=True)
class EngineLimits:
    """What checks may use and say.

    Attributes:
        archive: what opening the artifact may cost.
        check_seconds: time for each check and artifact, all members together.
        findings_per_check: what is kept of each check.
        findings_per_rule: what is kept of each rule; the rest says the same again.
        failures_per_check: after so many failures a check is left out for the rest of the artifact.
    """

    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    check_seconds: float = 30.0
    findings_per_check: int = 200
    findings_per_rule: int = 20
    failures_per_check: int = 5


class Engine:
    """Examines one artifact after another.

    Args:
        deadline: how a check that takes too long is ended.
    """

    def __init__(self, checks: Sequence[Check], limits: EngineLimits, deadline: Deadline) -> None:
        self._checks = tuple(checks)
        self._limits = limits
        self._deadline = deadline
        self._remembered = {
            check.name: Remembered() for check in self._checks if getattr(check, "repeatable", False) is True
        }
        kinds = frozenset(kind for check in self._checks for kind in check.subjects)
        self._by_kind = {kind: tuple(check for check in self._checks if kind in check.subjects) for kind in kinds}
        self._prepasses = {
            kind: Prepass([need_of(check) for check in chosen]) for kind, chosen in self._by_kind.items()
        }

    def examine(self, file: BinaryIO, subject: Subject, *, everything: bool = False) -> Examination:
        """Opens the artifact, and shows each member to the checks of such subjects that could find something in it.

        The rules of a check's life are those of ``plugin.Check``. Whatever a check raises, except that memory ran out
        while the artifact itself was opened, ends up in ``unread``.

        Args:
            everything: show each member to all of these checks, whatever they need.

        Raises:
            ArtifactUnreadableError: the file cannot be read.
            MemoryError: the artifact itself needs too much memory.
        """
        started = time.monotonic()
        artifact = open_artifact(file, self._limits.archive, subject.filename)
        context = ScanContext(
            subject=subject, format=artifact.format, size=artifact.size, member_names=artifact.member_names
        )
        runs = [
            _Run(check, self._limits, self._deadline, self._remembered.get(check.name))
            for check in self._by_kind.get(subject.kind, ())
        ]
        prepass = self._prepasses.get(subject.kind, _NO_CHECKS)
        for run in runs:
            run.begin(context)
        for member in artifact.members():
            for run, wanted in zip(runs, prepass.wanted(member.content), strict=True):
                if wanted or everything:
                    run.member(member)
        for run in runs:
            run.finish(artifact.anomalies)
        findings = tuple(finding for run in runs for finding in run.findings)
        unread = (*artifact.unread, *(part for run in runs for part in run.unread))
        return Examination(findings=findings, unread=unread, seconds=time.monotonic() - started)


class _Run:
    """One check on one artifact."""

    def __init__(self, check: Check, limits: EngineLimits, deadline: Deadline, remembered: Remembered | None) -> None:
        self._remembered = remembered
        self._check = check
        self._limits = limits
        self._deadline = deadline
        self._seconds = limits.check_seconds
        self._out = False
        self._kept: dict[str, int] = {}
        self.findings: list[Finding] = []
        self.unread: list[Unread] = []

    def begin(self, context: ScanContext) -> None:
        """A check that cannot begin sees nothing of the artifact."""

        def begun() -> None:
            self._check.begin(context)

        if not self._guarded(begun, None):
            self._out = True

    def member(self, member: Member) -> None:
        """Shows one member, unless it is remembered what was found in it."""
        if self._remembered is None:
            self._collect(lambda: self._check.member(member), member)
            return
        known = self._remembered.recall(member)
        if known is not None:
            self._collect(lambda: iter(known), member)
            return
        found = self._collect(lambda: self._check.member(member), member)
        if found is not None:
            self._remembered.keep(member, found)

    def finish(self, anomalies: Sequence[Anomaly]) -> None:
        """Shows the anomalies, and says that this was all."""
        self._collect(lambda: self._check.anomalies(tuple(anomalies)), None)
        self._collect(self._check.end, None)

    def _collect(self, examine: Callable[[], Iterator[Evidence]], member: Member | None) -> list[Evidence] | None:
        """What the check yielded; None if it is out, or did not come to its end."""
        yielded: list[Evidence] = []

        def collected() -> None:
            for evidence in examine():
                self._keep(evidence, member)
                if len(yielded) <= self._limits.findings_per_check:
                    yielded.append(evidence)

        return yielded if not self._out and self._guarded(collected, member) else None

    def _guarded(self, function: Callable[[], None], member: Member | None) -> bool:
        started = time.monotonic()
        try:
            self._deadline.call(self._seconds, function)
        except Overrun:
            self._fail(member, f"it took more than {self._limits.check_seconds:g} seconds", out=True)
            return False
        except BaseException as error:  # noqa: BLE001 - a check can raise anything, SystemExit too
            self._fail(member, _named(error), out=False)
            return False
        finally:
            self._seconds -= time.monotonic() - started
        return True

    def _fail(self, member: Member | None, why: str, *, out: bool) -> None:
        name = "" if member is None else member.name
        self.unread.append(Unread(member=name, why=f"The check '{self._check.name}' did not finish: {why}."))
        if out or len(self.unread) >= self._limits.failures_per_check:
            self._out = True

    def _keep(self, evidence: object, member: Member | None) -> None:
        if not isinstance(evidence, Evidence) or not _is_rule(evidence.rule):
            raise TypeError("it yielded something that is no Evidence with a rule in kebab case")
        kept = self._kept.get(evidence.rule, 0)
        if kept >= self._limits.findings_per_rule or len(self.findings) >= self._limits.findings_per_check:
            return
        self._kept[evidence.rule] = kept + 1
        self.findings.append(self._finding(evidence, member))

    def _finding(self, evidence: Evidence, member: Member | None) -> Finding:
        own = "" if member is None else member.name
        name = own if evidence.member is None else printable(evidence.member)
        line = min(max(0, evidence.line), _MAX_LINE)
        shown = evidence.excerpt
        if shown is None:
            shown = _line_of(member, line) if member is not None and name == member.name else ""
        return Finding(
            check=self._check.name,
            check_version=self._check.version,
            rule=evidence.rule,
            message=printable(evidence.message[:_MESSAGE_CHARACTERS]),
            member=name,
            line=line,
            excerpt=excerpt(shown),
        )


def _line_of(member: Member, line: int) -> str:
    return member.lines[line - 1] if 0 < line <= len(member.lines) else ""


def _is_rule(rule: object) -> bool:
    return isinstance(rule, str) and len(rule) <= _RULE_CHARACTERS and _RULE.fullmatch(rule) is not None


def _named(error: BaseException) -> str:
    try:
        text = printable(str(error))[:200]
    except Exception:  # noqa: BLE001 - an exception of a check may not even have a text
        text = "no text"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
