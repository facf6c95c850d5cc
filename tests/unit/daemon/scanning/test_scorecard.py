"""Findings become verdicts."""

from __future__ import annotations

import math

import pytest

from wharfinger_daemon.scanning import weights
from wharfinger_daemon.scanning.intake import MAX_FINDINGS, MAX_UNREAD, accepted
from wharfinger_daemon.scanning.model import Classification, Confidence, Examination, Finding, Unread
from wharfinger_daemon.scanning.scorecard import SCORECARD_VERSION, Scorecard

SCORECARD = Scorecard(
    weights={("check", "light"): 1.0, ("check", "odd"): 4.0, ("check", "bad"): 10.0, ("check", "worse"): 20.0}
)


def finding(rule: str, check: str = "check", **changes: object) -> Finding:
    return Finding(check=check, check_version="1", rule=rule, message="It is there.", **changes)  # type: ignore[arg-type]


def examination(*findings: Finding, unread: tuple[Unread, ...] = ()) -> Examination:
    return Examination(findings=findings, unread=unread, seconds=0.1)


@pytest.mark.parametrize(
    ("rules", "classification", "confidence", "score"),
    [
        ([], Classification.BENIGN, Confidence.HIGH, 0.0),
        (["light"], Classification.BENIGN, Confidence.MEDIUM, 1.0),
        (["odd"], Classification.INDETERMINATE, Confidence.LOW, 4.0),
        (["odd", "unweighed"], Classification.INDETERMINATE, Confidence.MEDIUM, 8.0),
        (["bad"], Classification.THREAT, Confidence.LOW, 10.0),
        (["bad", "odd"], Classification.THREAT, Confidence.MEDIUM, 14.0),
        (["worse"], Classification.THREAT, Confidence.HIGH, 20.0),
    ],
)
def test_the_score_and_its_distance_from_the_thresholds_decide(
    rules: list[str], classification: Classification, confidence: Confidence, score: float
) -> None:
    verdict = SCORECARD.judge(examination(*map(finding, rules)))
    assert (classification, confidence, score) == (verdict.classification, verdict.confidence, verdict.score)


def test_benign_with_little_room_left_is_of_low_confidence() -> None:
    verdict = Scorecard(weights={("check", "nearly"): 3.0}).judge(examination(finding("nearly")))
    assert (Classification.BENIGN, Confidence.LOW) == (verdict.classification, verdict.confidence)


def test_a_rule_counts_once_an_artifact() -> None:
    verdict = SCORECARD.judge(examination(*[finding("odd", line=number) for number in range(1, 11)]))
    assert 4.0 == verdict.score
    assert [4.0] + [0.0] * 9 == [found.weight for found in verdict.findings]
    assert 1 == verdict.findings[0].line


def test_findings_are_sorted_by_weight_then_by_discovery() -> None:
    verdict = SCORECARD.judge(examination(finding("light"), finding("odd"), finding("bad"), finding("other")))
    assert ["bad", "odd", "other", "light"] == [found.rule for found in verdict.findings]


def test_an_incomplete_scan_is_never_benign() -> None:
    verdict = SCORECARD.judge(examination(unread=(Unread("a.zip!/b.py", "nested too deep"),)))
    assert (Classification.INDETERMINATE, Confidence.LOW, 0.0) == (
        verdict.classification,
        verdict.confidence,
        verdict.score,
    )
    assert [("engine", "unread", "a.zip!/b.py", 0.0)] == [
        (found.check, found.rule, found.member, found.weight) for found in verdict.findings
    ]


def test_an_incomplete_scan_can_be_a_threat() -> None:
    assert (
        Classification.THREAT
        is SCORECARD.judge(examination(finding("bad"), unread=(Unread("", "why"),))).classification
    )


def test_a_weight_that_a_check_claims_for_itself_is_ignored() -> None:
    assert 1.0 == SCORECARD.judge(examination(finding("light", weight=-100.0))).score


def test_a_rule_nobody_weighed_makes_a_scan_indeterminate_and_no_more() -> None:
    verdict = Scorecard().judge(examination(finding("new", check="third-party")))
    assert Classification.INDETERMINATE is verdict.classification


def test_a_content_failure_is_indeterminate() -> None:
    verdict = Scorecard().judge(
        examination(finding("content-failure-time-out", check="engine"), unread=(Unread("", "x"),))
    )
    assert Classification.INDETERMINATE is verdict.classification


def test_every_weight_is_finite_and_not_negative() -> None:
    """Nothing that a package contains may speak in its favour: it would be added to malware."""
    assert all(math.isfinite(weight) and weight >= 0 for weight in weights.WEIGHTS.values())


def test_a_change_of_any_weight_changes_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights.table_digest()
    assert SCORECARD_VERSION.endswith(before)
    monkeypatch.setattr(weights, "WEIGHTS", {**weights.WEIGHTS, ("eager-code", "startup-code"): 0.6})
    assert before != weights.table_digest()


def test_what_a_worker_says_is_made_printable_and_bounded() -> None:
    """A worker that was taken over must not reach the database, the log or the reviewer's terminal."""
    hostile = Finding("c" * 1000, "1", "r\x1b[2J", "m" * 5000, "\udcff\x00", -7, "\u202e", weight=math.nan)
    found = accepted(Examination((hostile,), (Unread("\n", "w" * 5000),), seconds=math.inf))
    clean = found.findings[0]
    assert 64 == len(clean.check)
    assert ("r\\x1b[2J", "\\udcff\\x00", 0, "\\u202e", 0.0) == (
        clean.rule,
        clean.member,
        clean.line,
        clean.excerpt,
        clean.weight,
    )
    assert 1000 == len(clean.message)
    assert ("\\n", 1000, 0.0) == (found.unread[0].member, len(found.unread[0].why), found.seconds)


def test_too_many_findings_make_a_scan_incomplete() -> None:
    many = accepted(examination(*[finding("light")] * (MAX_FINDINGS + 1), unread=(Unread("", "x"),) * 200))
    assert (MAX_FINDINGS, MAX_UNREAD + 1) == (len(many.findings), len(many.unread))
    assert "findings" in many.unread[-1].why
