"""Moves the weights that were set by judgement to where the labelled archives want them.

The score stays what it is, a sum of weights that a person can check by hand. It is read as evidence: an archive with
score ``s`` is taken for malware with the probability ``1 / (1 + exp(-(s - middle) / POINTS_PER_NAT))``. The
weights that make the labels likeliest are looked for, under three restraints:

  (1) Judgement is the prior: leaving it by ``PRIOR_POINTS`` costs as much as one standard deviation. A rule that was
      met once moves little, and one that was never met keeps its weight.
  (2) No weight is negative, and none goes over its ceiling: see ``ceiling_of``.
  (3) A family counts once and a project counts once, however many archives each has, and all clean projects together
      count ``CLEAN_EMPHASIS`` times as much as all families.

This is logistic regression with a Gaussian prior (Gelman and others, Bayesian Data Analysis, chapter 16), solved by
projected gradient descent; with some hundred rules nothing faster is needed.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.corpus.observations import Observation
from wharfinger_daemon.scanning.weights import CEILINGS, THREAT_SCORE, UNKNOWN_RULE_WEIGHT

POINTS_PER_NAT = 2.0
PRIOR_POINTS = 3.0
CLEAN_EMPHASIS = 3.0
FOLDS = 5

# Not the structure of archives: the clean ones were in part packed by ourselves.
FITTED_CHECKS = frozenset({"eager-code", "package-profile", "yara-rules"})

_ROUNDS = 400
_LARGEST_STEP = 2.0
_HIGHEST_WEIGHT = 14.0

Weights = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Fit:
    """Fitted weights, of the rules that were met, and the score at which both labels are equally likely."""

    weights: dict[tuple[str, str], float]
    middle: float


@dataclass(frozen=True)
class _Example:
    rules: tuple[tuple[str, str], ...]
    malicious: bool
    importance: float


def ceiling_of(rule: tuple[str, str]) -> float:
    """Signals and metadata never alarm by themselves, since the clean sample is too small to prove that they could."""
    return min(CEILINGS.get(rule, _HIGHEST_WEIGHT), _HIGHEST_WEIGHT)


def fit(observations: Sequence[Observation], prior: Weights) -> Fit:
    """The likeliest weights."""
    examples = _examples(observations)
    met = sorted({rule for example in examples for rule in example.rules if rule[0] in FITTED_CHECKS})
    judged = {rule: prior.get(rule, UNKNOWN_RULE_WEIGHT) for rule in met}
    weights, middle = dict(judged), THREAT_SCORE / 2
    for number in range(_ROUNDS):
        step = _LARGEST_STEP / (1 + number / 50)
        slopes, of_middle, curvature = _slopes(examples, weights, middle)
        middle -= step * of_middle / max(1.0, sum(example.importance for example in examples) / 4)
        for rule in met:
            slope = slopes.get(rule, 0.0) + (weights[rule] - judged[rule]) / PRIOR_POINTS**2
            moved = weights[rule] - step * slope / (1 / PRIOR_POINTS**2 + curvature.get(rule, 0.0))
            weights[rule] = min(max(0.0, moved), ceiling_of(rule))
    return Fit({rule: round(weight, 1) for rule, weight in weights.items()}, round(middle, 2))


def scored_out_of_fold(observations: Sequence[Observation], prior: Weights) -> list[tuple[Observation, float]]:
    """Each archive with its score by weights that were fitted without its family or project."""
    scored: list[tuple[Observation, float]] = []
    for number in range(FOLDS):
        others = [o for o in observations if fold_of(o) != number]
        fitted = {**prior, **fit(others, prior).weights}
        scored += [(o, score(o, fitted)) for o in observations if fold_of(o) == number]
    return scored


def score(observation: Observation, weights: Weights) -> float:
    """The score card's sum: each rule once."""
    return sum(weights.get(rule, UNKNOWN_RULE_WEIGHT) for rule in _rules(observation))


def fold_of(observation: Observation) -> int:
    """The same for all archives of one family or project, whatever else is in the corpus."""
    return hashlib.sha256(f"fold {observation.label == 'malicious'} {observation.cluster}".encode()).digest()[0] % FOLDS


def _rules(observation: Observation) -> tuple[tuple[str, str], ...]:
    pairs = (key.partition("/") for key in observation.rules)
    return tuple((check, rule) for check, _, rule in pairs if check != "engine")


def _examples(observations: Sequence[Observation]) -> list[_Example]:
    sizes = Counter((o.malicious, o.cluster) for o in observations)
    families = sum(malicious for malicious, _ in sizes)
    projects = len(sizes) - families
    of_project = CLEAN_EMPHASIS * families / max(1, projects)
    return [
        _Example(_rules(o), o.malicious, (1.0 if o.malicious else of_project) / sizes[o.malicious, o.cluster])
        for o in observations
    ]


def _slopes(
    examples: Sequence[_Example], weights: Weights, middle: float
) -> tuple[dict[tuple[str, str], float], float, dict[tuple[str, str], float]]:
    """Of minus the log likelihood, by each weight and by the middle; and its second derivatives' bound by weight."""
    slopes: dict[tuple[str, str], float] = {}
    curvature: dict[tuple[str, str], float] = {}
    of_middle = 0.0
    for example in examples:
        total = sum(weights.get(rule, 0.0) for rule in example.rules)
        likely = 1 / (1 + math.exp(min(50.0, -(total - middle) / POINTS_PER_NAT)))
        slope = example.importance * (likely - example.malicious) / POINTS_PER_NAT
        of_middle -= slope
        for rule in example.rules:
            slopes[rule] = slopes.get(rule, 0.0) + slope
            bound = example.importance * len(example.rules) / 4 / POINTS_PER_NAT**2
            curvature[rule] = curvature.get(rule, 0.0) + bound
    return slopes, of_middle, curvature
