"""What observations and a scorecard come to: recall by family, false alarms by group, and what each rule is worth."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.corpus.observations import Observation
from wharfinger_daemon.scanning.model import Classification
from wharfinger_daemon.scanning.scorecard import Scorecard

_Z = 1.959964  # 95 %


@dataclass(frozen=True)
class Share:
    """So many of so many, with a 95 % interval.

    >>> Share(0, 100).interval[1] < 0.04
    True
    """

    hits: float
    total: int

    @property
    def value(self) -> float:
        return self.hits / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval."""
        if not self.total:
            return 0.0, 1.0
        spread = _Z * _Z / self.total
        middle = self.value + spread / 2
        half = _Z * math.sqrt(self.value * (1 - self.value) / self.total + spread / (4 * self.total))
        return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))

    def as_json(self) -> dict[str, float]:
        low, high = self.interval
        return {
            "hits": round(self.hits, 2),
            "of": self.total,
            "share": round(self.value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }

    def as_text(self) -> str:
        low, high = self.interval
        return f"{self.value:7.2%} [{low:.1%}, {high:.1%}] {self.hits:g}/{self.total}"


Judge = Callable[[Observation], Classification]


def judge_with(scorecard: Scorecard) -> Judge:
    """The daemon's own judgement."""
    return lambda observation: scorecard.judge(observation.examination).classification


def caught(observations: Iterable[Observation], judge: Judge, least: Classification) -> Share:
    """Macro average: each family or project counts once, by the share of its archives that were called so."""
    clusters: dict[str, list[bool]] = defaultdict(list)
    for observation in observations:
        clusters[observation.cluster].append(judge(observation) >= least)
    return Share(sum(sum(found) / len(found) for found in clusters.values()), len(clusters))


def caught_archives(observations: Sequence[Observation], judge: Judge, least: Classification) -> Share:
    """Each archive counts."""
    return Share(sum(judge(observation) >= least for observation in observations), len(observations))


@dataclass(frozen=True)
class RuleWorth:
    """How often a rule is found: share of families, share of clean projects."""

    rule: str
    families: Share
    projects: Share


def worth_of_rules(observations: Sequence[Observation]) -> list[RuleWorth]:
    """Of every rule that was found at all, the most telling first."""
    families = _clusters_with_rule(o for o in observations if o.malicious)
    projects = _clusters_with_rule(o for o in observations if not o.malicious)
    of_families = len({o.cluster for o in observations if o.malicious})
    of_projects = len({o.cluster for o in observations if not o.malicious})
    worth = [
        RuleWorth(rule, Share(families[rule], of_families), Share(projects[rule], of_projects))
        for rule in families.keys() | projects.keys()
    ]
    return sorted(worth, key=lambda each: (each.projects.hits - each.families.hits, each.rule))


def _clusters_with_rule(observations: Iterable[Observation]) -> Mapping[str, int]:
    pairs = {(rule, o.cluster) for o in observations for rule in o.rules}
    return Counter(rule for rule, _ in pairs)


def by_label(observations: Iterable[Observation]) -> dict[str, list[Observation]]:
    """Grouped by label."""
    groups: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        groups[observation.label].append(observation)
    return dict(sorted(groups.items()))
