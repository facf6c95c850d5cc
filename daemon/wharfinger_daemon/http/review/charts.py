"""Charts as inline SVG, made on the server. Colours come from the stylesheet, by class; each says what it shows."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH = 640.0
_PART = Markup('<rect class="part part-{}" x="{:.1f}" y="16" width="{:.1f}" height="20"><title>{}: {:g}</title></rect>')


def score_bar(weights: Sequence[tuple[str, float]], suspicious: float, threat: float) -> Markup:
    """What each finding added to a score, one beside the other, with both thresholds."""
    total = sum(weight for _, weight in weights)
    scale = _WIDTH / max(total, threat * 1.25)
    parts, x = [], 0.0
    for number, (name, weight) in enumerate(weights):
        parts.append(_PART.format(number % 2, x, weight * scale, name, weight))
        x += weight * scale
    marks = [
        Markup(
            '<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="12" y2="40"/><text x="{0:.1f}" y="9" '
            'text-anchor="middle">{1} {2:g}</text>'
        ).format(at * scale, name, at)
        for name, at in (("suspicious", suspicious), ("threat", threat))
    ]
    told = f"The score is {total:g}; from {suspicious:g} on it is suspicious, from {threat:g} on a threat."
    return _svg(
        44, told, Markup('<rect class="rail" x="0" y="16" width="{}" height="20"/>').format(_WIDTH), *parts, *marks
    )


def day_bars(counts: Sequence[int], what: str) -> Markup:
    """A number for each day, the last one today."""
    width, most = _WIDTH / max(len(counts), 1), max([*counts, 1])
    bars = [
        Markup(
            '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}: {}</title></rect>'
        ).format(
            day * width + 1,
            48 - 46 * count / most,
            width - 2,
            46 * count / most,
            _days_ago(len(counts) - 1 - day),
            count,
        )
        for day, count in enumerate(counts)
    ]
    told = f"{what} in {len(counts)} days: {sum(counts)}; at most {max([*counts, 0])} on one day."
    return _svg(50, told, *bars, Markup('<line class="axis" x1="0" x2="{}" y1="48.5" y2="48.5"/>').format(_WIDTH))


def _days_ago(days: int) -> str:
    return "today" if days == 0 else f"{days} days ago" if days > 1 else "yesterday"


def _svg(height: int, told: str, *parts: Markup) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {:g} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, told, Markup().join(parts)
    )
