"""What is printed and kept of a run: aggregates only, but for the names that are asked for on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.corpus.measures import Judge, Share, by_label, caught, caught_archives, judge_with, worth_of_rules
from bench.corpus.observations import Observation
from wharfinger_daemon.scanning.model import Classification
from wharfinger_daemon.scanning.scorecard import Scorecard

_LEVELS = (Classification.THREAT, Classification.INDETERMINATE)


def as_json(observations: Sequence[Observation]) -> dict[str, object]:
    """By label and level, and by rule."""
    return {
        "shares_with_weights_in_force": {
            name: share.as_json() for name, share in shares(observations, judge_with(Scorecard()))
        },
        "rules": {
            worth.rule: {"families": int(worth.families.hits), "projects": int(worth.projects.hits)}
            for worth in worth_of_rules(observations)
        },
    }


def as_text(observations: Sequence[Observation], *, misses: int) -> str:
    """The same for reading; with ``misses``, names of missed and of wrongly flagged archives, too."""
    judge = judge_with(Scorecard())
    lines = [f"{name:45s} {share.as_text()}" for name, share in shares(observations, judge)]
    lines.append("\nrule: families, clean projects")
    lines += [
        f"  {worth.rule:48s} {worth.families.hits:5.0f} {worth.families.value:7.2%}"
        f" {worth.projects.hits:5.0f} {worth.projects.value:7.2%}"
        for worth in worth_of_rules(observations)
    ]
    if misses:
        lines += _names(observations, judge, misses)
    return "\n".join(lines)


def shares(observations: Sequence[Observation], judge: Judge) -> Iterator[tuple[str, Share]]:
    """Recall by family and raw, alarms by project and by file, for each group."""
    groups = by_label(observations)
    every = [o for o in observations if not o.malicious]
    if every:
        groups["clean, all groups"] = every
    for label, found in groups.items():
        for level in _LEVELS:
            what = level.label if level is Classification.THREAT else "threat or indeterminate"
            yield f"{label}: {what}, by cluster", caught(found, judge, level)
            yield f"{label}: {what}, by archive", caught_archives(found, judge, level)


def _names(observations: Sequence[Observation], judge: Judge, most: int) -> Iterator[str]:
    missed = [o for o in observations if o.malicious and judge(o) < Classification.THREAT]
    flagged = [o for o in observations if not o.malicious and judge(o) > Classification.BENIGN]
    yield f"\n{len(missed)} missed; the first {most}:"
    for observation in missed[:most]:
        yield f"  {observation.name}: {', '.join(observation.rules) or 'nothing'}"
    yield f"\n{len(flagged)} clean ones flagged:"
    for observation in flagged:
        level = judge(observation).label
        yield f"  {level} {observation.label} {observation.name}: {', '.join(observation.rules)} {observation.unread}"
