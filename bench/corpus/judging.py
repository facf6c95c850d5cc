"""``--fit``: cross-validates the scorecard, draws its curve, and writes the weights that the whole sample gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.corpus import curve, fitting, tables
from bench.corpus.measures import Share
from bench.corpus.observations import Observation
from wharfinger_daemon.scanning.weights import JUDGED, SUSPICIOUS_SCORE, THREAT_SCORE

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "explanation" / "detection-curve.svg"
BUDGETS = (0.0, 0.002, 0.005, 0.01, 0.02)


@dataclass(frozen=True)
class Judgement:
    """One way to weigh, over all archives: each with its score."""

    name: str
    scored: curve.Scored

    def shares(self) -> dict[str, dict[str, Share]]:
        """By verdict level: recall by family, and false alarms by file for each group and for all."""
        return {
            "threat": self._at(THREAT_SCORE),
            "threat or indeterminate": self._at(SUSPICIOUS_SCORE),
        }

    def _at(self, threshold: float) -> dict[str, Share]:
        labels = sorted({o.label for o, _ in self.scored})
        groups = {label: [(o, s) for o, s in self.scored if o.label == label] for label in labels}
        groups["clean, all groups"] = [(o, s) for o, s in self.scored if not o.malicious]
        return {
            label: Share(sum(_reaches(o, s, threshold) for o, s in members), len(members))
            for label, members in groups.items()
        }


def _reaches(observation: Observation, score: float, threshold: float) -> bool:
    # What was not examined to its end is never benign, and never a threat for that reason.
    return score >= threshold or (threshold == SUSPICIOUS_SCORE and observation.unread > 0)


def judgements(observations: Sequence[Observation]) -> list[Judgement]:
    """By judgement alone; and by fitted weights, each archive by weights that its family or project had no part in."""
    return [
        Judgement("weights by judgement", [(o, fitting.score(o, JUDGED)) for o in observations]),
        Judgement("fitted weights, cross-validated", fitting.scored_out_of_fold(observations, JUDGED)),
    ]


def write(observations: Sequence[Observation], origin: str) -> list[Judgement]:
    """Writes the fitted weights, their documentation and the picture; returns what they were judged by."""
    found = judgements(observations)
    fitted = fitting.fit(observations, JUDGED).weights
    tables.update(fitted, {**JUDGED, **fitted}, origin, ROOT)
    curves = {each.name: curve.curve(each.scored) for each in reversed(found)}
    points = curves[found[-1].name]
    marks = [
        (name, curve.at_threshold(points, score))
        for name, score in (("threat", THREAT_SCORE), ("indeterminate", SUSPICIOUS_SCORE))
    ]
    PICTURE.write_text(curve.drawn(curves, marks), encoding="utf-8")
    return found


def as_json(found: Sequence[Judgement]) -> dict[str, object]:
    """Shares with intervals, and the best recall within each budget of false alarms."""
    return {
        each.name: {
            "shares": {
                level: {label: share.as_json() for label, share in shares.items()}
                for level, shares in each.shares().items()
            },
            "within": [
                {
                    "false_alarms_at_most": budget,
                    "recall": round(point.recall, 4),
                    "threshold": round(point.threshold, 1),
                }
                for budget in BUDGETS
                for point in [curve.recall_within(curve.curve(each.scored), budget)]
            ],
        }
        for each in found
    }


def as_text(found: Sequence[Judgement]) -> str:
    """The same for reading."""
    lines = []
    for each in found:
        lines.append(f"\n{each.name}")
        for level, shares in each.shares().items():
            lines += [f"  {level:24s} {label:20s} {share.as_text()}" for label, share in shares.items()]
        for budget in BUDGETS:
            point = curve.recall_within(curve.curve(each.scored), budget)
            lines.append(f"  false alarms <= {budget:.1%}: recall {point.recall:.1%} at {point.threshold:.1f}")
    return "\n".join(lines)
