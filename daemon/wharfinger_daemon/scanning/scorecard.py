"""Turns findings into a verdict: weights are added up, thresholds decide.

Rules of the whole module:
  (1) A rule counts once an artifact. Ten findings of one rule are one piece of evidence, seen ten times.
  (2) ``threat`` needs a score of at least the threat threshold. Nothing else makes a threat.
  (3) ``benign`` needs a complete scan: with anything unread, the verdict is at least ``indeterminate``.
  (4) What was not examined is named in a finding of its own, ``engine``/``unread``, of no weight.
  (5) A rule that has no weight yet gets the default one: enough to look, not enough to alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from wharfinger_daemon.scanning.intake import accepted
from wharfinger_daemon.scanning.model import Classification, Confidence, Examination, Finding, Unread, Verdict
from wharfinger_daemon.scanning.weights import (
    ENGINE_WEIGHT,
    SUSPICIOUS_SCORE,
    THREAT_SCORE,
    UNKNOWN_RULE_WEIGHT,
    WEIGHTS,
    table_digest,
)

# The number changes when the arithmetic below does; the digest when a weight does. Part of the rule set's version.
SCORECARD_VERSION = f"1-{table_digest()}"

ENGINE_CHECK = "engine"
UNREAD_RULE = "unread"


@dataclass(frozen=True)
class Scorecard:
    """Weights and thresholds.

    >>> finding = Finding(check="yara-rules", check_version="1", rule="off-screen-code", message="Hidden.")
    >>> Scorecard().judge(Examination(findings=(finding,), unread=(), seconds=0.1)).classification.label
    'threat'

    Attributes:
        weights: by check and rule; the rules of the engine itself (check ``engine``) all have the same.
        suspicious: the score from which a complete scan is no longer benign.
        threat: the score from which it is a threat.
        unknown: the weight of a rule that ``weights`` does not have.
    """

    weights: Mapping[tuple[str, str], float] = field(default_factory=lambda: WEIGHTS)
    suspicious: float = SUSPICIOUS_SCORE
    threat: float = THREAT_SCORE
    unknown: float = UNKNOWN_RULE_WEIGHT

    def judge(self, examination: Examination) -> Verdict:
        """The verdict, its findings weighted and sorted, heaviest first, otherwise in the order of discovery."""
        examination = accepted(examination)
        evidence = (*examination.findings, *map(_unread_finding, examination.unread))
        findings = sorted(self._weighted(evidence), key=lambda finding: -finding.weight)
        score = round(sum(finding.weight for finding in findings), 3)
        classification = self._classification(score, complete=not examination.unread)
        return Verdict(
            classification=classification,
            confidence=self._confidence(classification, score),
            score=score,
            findings=tuple(findings),
        )

    def _weighted(self, findings: Iterable[Finding]) -> Iterable[Finding]:
        seen: set[tuple[str, str]] = set()
        for finding in findings:
            key = (finding.check, finding.rule)
            yield replace(finding, weight=0.0 if key in seen else self._weight(key))
            seen.add(key)

    def _weight(self, key: tuple[str, str]) -> float:
        if key[0] == ENGINE_CHECK:
            return 0.0 if key[1] == UNREAD_RULE else ENGINE_WEIGHT
        return self.weights.get(key, self.unknown)

    def _classification(self, score: float, *, complete: bool) -> Classification:
        if score >= self.threat:
            return Classification.THREAT
        if score >= self.suspicious or not complete:
            return Classification.INDETERMINATE
        return Classification.BENIGN

    def _confidence(self, classification: Classification, score: float) -> Confidence:
        """How far the score is from the threshold that would have changed the verdict."""
        if classification is Classification.THREAT:
            return _step(score, medium=1.4 * self.threat, high=2 * self.threat)
        if classification is Classification.INDETERMINATE:
            # What could not be told is never told with high confidence.
            return _step(score, medium=(self.suspicious + self.threat) / 2, high=self.threat)
        return _step(self.suspicious - score, medium=self.suspicious / 2, high=self.suspicious)


def _unread_finding(unread: Unread) -> Finding:
    return Finding(
        check=ENGINE_CHECK,
        check_version=SCORECARD_VERSION,
        rule=UNREAD_RULE,
        message=f"This was not examined: {unread.why}",
        member=unread.member,
    )


def _step(value: float, *, medium: float, high: float) -> Confidence:
    if value >= high:
        return Confidence.HIGH
    return Confidence.MEDIUM if value >= medium else Confidence.LOW
