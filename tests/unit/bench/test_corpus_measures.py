"""How detection is judged: families count once, files do not leak between folds, ceilings hold."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from bench.corpus import archives, curve, fitting, measures, tables
from bench.corpus.judging import Judgement
from bench.corpus.observations import Memory, Observation, observe
from wharfinger_daemon.scanning.model import Classification
from wharfinger_daemon.scanning.scorecard import Scorecard
from wharfinger_daemon.scanning.weights import CEILINGS, JUDGED, SUSPICIOUS_SCORE, THREAT_SCORE

STRONG = "eager-code/install-reverse-shell"
WEAK = "package-profile/bare-metadata"


def seen(label: str, cluster: str, *rules: str, unread: int = 0) -> Observation:
    name = f"{cluster}-{len(rules)}"
    return Observation(label, cluster, name, dict.fromkeys(rules, 1), unread=unread, seconds=0.1, size=1000)


def test_a_family_counts_once_however_many_archives_it_has() -> None:
    observations = [seen("malicious", "a", STRONG)] * 99 + [seen("malicious", "b")]
    judge = measures.judge_with(Scorecard())
    assert measures.Share(1.0, 2) == measures.caught(observations, judge, Classification.THREAT)
    assert measures.Share(99, 100) == measures.caught_archives(observations, judge, Classification.THREAT)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"), [(0, 100, 0.0, 0.0370), (50, 100, 0.4038, 0.5962), (0, 0, 0.0, 1.0)]
)
def test_intervals_are_wilsons(hits: int, total: int, low: float, high: float) -> None:
    assert (low, high) == tuple(round(bound, 4) for bound in measures.Share(hits, total).interval)


def test_archives_of_one_family_are_in_one_fold() -> None:
    folds = {fitting.fold_of(seen("malicious", "a", *rules)) for rules in ([], [STRONG], [STRONG, WEAK])}
    assert 1 == len(folds)


def test_rules_of_malware_gain_weight_and_rules_of_clean_packages_lose_it() -> None:
    observations = [seen("malicious", str(n), "eager-code/import-network-process") for n in range(50)]
    observations += [seen("popular", str(n), "eager-code/latent-exfiltration") for n in range(50)]
    fitted = fitting.fit(observations, JUDGED).weights
    gaining, losing = ("eager-code", "import-network-process"), ("eager-code", "latent-exfiltration")
    assert fitted[gaining] > JUDGED[gaining]
    assert 0 <= fitted[losing] < JUDGED[losing]


def test_no_fit_lifts_a_weight_over_its_ceiling() -> None:
    observations = [seen("malicious", str(n), WEAK) for n in range(300)] + [seen("tail", str(n)) for n in range(300)]
    key = ("package-profile", "bare-metadata")
    assert CEILINGS[key] == fitting.fit(observations, JUDGED).weights[key]


def test_a_build_script_that_fetches_a_prebuilt_library_stays_below_a_threat() -> None:
    rules = ("install-network", "import-network", "install-package-install", "install-program-file", "aside-behaviour")
    assert sum(CEILINGS["eager-code", rule] for rule in rules) < THREAT_SCORE
    assert all(JUDGED["eager-code", rule] <= CEILINGS["eager-code", rule] for rule in rules)


def test_what_was_never_met_is_not_fitted() -> None:
    observations = [seen("malicious", "a", STRONG), seen("popular", "b")]
    assert {("eager-code", "install-reverse-shell")} == set(fitting.fit(observations, JUDGED).weights)


def test_structure_findings_are_not_fitted() -> None:
    observations = [seen("malicious", "a", "archive-structure/polyglot"), seen("popular", "b")]
    assert {} == fitting.fit(observations, JUDGED).weights


def test_the_curve_counts_families_and_clean_files() -> None:
    scored = [
        (seen("malicious", "a"), 12.0),
        (seen("malicious", "a"), 2.0),
        (seen("malicious", "b"), 8.0),
        (seen("popular", "x"), 8.0),
        (seen("popular", "x"), 0.0),
    ]
    points = curve.curve(scored)
    assert [(12.0, 0.25, 0.0), (8.0, 0.75, 0.5), (2.0, 1.0, 0.5)] == [
        (point.threshold, point.recall, point.false_alarms) for point in points
    ]
    assert 0.25 == curve.recall_within(points, 0.1).recall
    assert 0.75 == curve.at_threshold(points, 4.0).recall
    assert curve.drawn({"ours": points}, [("threat", points[0])]).startswith("<svg ")


def test_unread_archives_are_never_benign_and_never_a_threat_for_that() -> None:
    judgement = Judgement("any", [(seen("popular", "x", unread=1), 0.0), (seen("malicious", "a"), THREAT_SCORE)])
    shares = judgement.shares()
    assert measures.Share(0, 1) == shares["threat"]["popular"]
    assert measures.Share(1, 1) == shares["threat or indeterminate"]["popular"]
    assert SUSPICIOUS_SCORE < THREAT_SCORE


def test_weights_are_written_where_they_are_used_and_documented() -> None:
    page = "## `c`\n\n| Rule | Weight | Meaning |\n|---|---|---|\n| `r` | 1 | it | \n| `other` | 1 | it |\n"
    page += "| `b` | 1 | 2 | 3 | it |"
    weights = {("c", "r"): 2.5} | {("c", f"{stage}-b"): float(n) for n, stage in enumerate(("install", "import"), 4)}
    weights["c", "startup-b"] = 6.0
    written = tables.with_weights(page, weights)
    assert "| `r` | 2.5 | it |" in written
    assert "| `other` | 1 | it |" in written
    assert "| `b` | 4 | 5 | 6 | it |" in written
    namespace: dict[str, object] = {}
    exec(compile(tables.as_module(weights, "two archives"), "fitted", "exec"), namespace)
    assert weights == namespace["FITTED"]


@pytest.mark.parametrize(
    ("filename", "project"),
    [
        ("Some_Project-1.0.tar.gz", "some-project"),
        ("some.project-1.0-py3-none-any.whl", "some-project"),
        ("a-b-2.0.zip", "a-b"),
    ],
)
def test_projects_are_named_as_the_index_names_them(filename: str, project: str) -> None:
    assert project == archives.project_of(filename)


def test_names_kept_for_evaluation_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "popular"
    folder.mkdir()
    names = [f"project{number}" for number in range(40)]
    for name in names:
        (folder / f"{name}-1.0.tar.gz").write_bytes(b"x")
    allowed = {name for name in names if hashlib.sha256(name.encode()).hexdigest()[0] < "8"}
    found = archives.clean(archives.Places(None, None, "HEAD", tmp_path))
    assert allowed == {archive.cluster for archive in found}
    assert 0 < len(allowed) < len(names)


def test_an_absent_corpus_is_named() -> None:
    assert 2 == len(list(archives.missing(archives.Places.of({}))))


def test_what_was_observed_once_is_not_scanned_again(tmp_path: Path) -> None:
    archive = archives.Archive("popular", "x", "x-1.0.tar.gz", "x-1.0.tar.gz", archives.Files())
    kept = seen("popular", "x")
    observation = Observation("popular", "x", "x-1.0.tar.gz", kept.rules, 0, 0.1, 10)
    Memory(tmp_path).add(observation)
    assert [observation] == asyncio.run(observe([archive], Memory(tmp_path), workers=1))
