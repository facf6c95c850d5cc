"""Recall against false alarms: each threshold of a score is a point. Drawn as SVG, without any library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.corpus.observations import Observation

Scored = Sequence[tuple[Observation, float]]

_WIDTH, _HEIGHT, _LEFT, _TOP, _SIDE, _TALL = 640, 420, 60, 20, 550, 340
_LARGEST_SHARE = 0.05


@dataclass(frozen=True)
class Point:
    """What a threshold would do: recall by family, false alarms by clean file."""

    threshold: float
    recall: float
    false_alarms: float


def curve(scored: Scored) -> list[Point]:
    """A point for each score that occurs, highest first."""
    sizes = Counter(o.cluster for o, _ in scored if o.malicious)
    clean = sum(not o.malicious for o, _ in scored)
    points = []
    for threshold in sorted({score for _, score in scored if score > 0}, reverse=True):
        over = [o for o, score in scored if score >= threshold]
        recall = sum(1 / sizes[o.cluster] for o in over if o.malicious) / max(1, len(sizes))
        points.append(Point(threshold, recall, sum(not o.malicious for o in over) / max(1, clean)))
    return points


def at_threshold(points: Sequence[Point], threshold: float) -> Point:
    """The point of the lowest score that reaches the threshold."""
    reached = [point for point in points if point.threshold >= threshold]
    return reached[-1] if reached else Point(threshold, 0.0, 0.0)


def recall_within(points: Iterable[Point], budget: float) -> Point:
    """The point of highest recall whose false alarms are no more than the budget."""
    allowed = [point for point in points if point.false_alarms <= budget]
    return max(allowed, key=lambda point: point.recall, default=Point(float("inf"), 0.0, 0.0))


def drawn(curves: dict[str, Sequence[Point]], marks: Sequence[tuple[str, Point]]) -> str:
    """An SVG: false alarms up to 5 % to the right, recall upwards; curves are steps, marks are named points."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    ]
    parts += _axes()
    for index, (name, points) in enumerate(curves.items()):
        colour = ("#0b61a4", "#999999", "#b5651d")[index % 3]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{_steps(points)}"/>')
        parts.append(f'<text x="{_LEFT + 300}" y="{_TOP + 250 + 18 * index}" fill="{colour}">{name}</text>')
    for name, point in marks:
        x, y = _place(point)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#b00020"/>')
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 14:.1f}" fill="#b00020">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _axes() -> list[str]:
    parts = []
    for step in range(6):
        x, y = _LEFT + _SIDE * step / 5, _TOP + _TALL * (1 - step / 5)
        parts.append(f'<line x1="{x}" y1="{_TOP}" x2="{x}" y2="{_TOP + _TALL}" stroke="#dddddd"/>')
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{_LEFT + _SIDE}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x - 8}" y="{_TOP + _TALL + 18}">{step} %</text>')
        parts.append(f'<text x="{_LEFT - 42}" y="{y + 4}">{step * 20} %</text>')
    parts.append(f'<text x="{_LEFT + 200}" y="{_HEIGHT - 12}">clean files that are flagged</text>')
    parts.append(f'<text x="{_LEFT + 4}" y="{_TOP + 12}">families that are flagged</text>')
    return parts


def _place(point: Point) -> tuple[float, float]:
    share = min(point.false_alarms, _LARGEST_SHARE) / _LARGEST_SHARE
    return _LEFT + _SIDE * share, _TOP + _TALL * (1 - point.recall)


def _steps(points: Iterable[Point]) -> str:
    corners = [(_LEFT, _TOP + _TALL)]
    for point in points:
        if point.false_alarms > _LARGEST_SHARE:
            corners.append((_LEFT + _SIDE, int(corners[-1][1])))
            break
        x, y = _place(point)
        corners += [(round(x), round(corners[-1][1])), (round(x), round(y))]
    return " ".join(f"{x},{y}" for x, y in corners)
