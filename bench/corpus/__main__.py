"""``python -m bench.corpus``: scans the labelled archives and says what was found; skips a corpus that is not there."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from bench.corpus import archives, judging, peer, report
from bench.corpus.measures import Share
from bench.corpus.observations import Memory, observe

KEPT = Path(__file__).parents[2] / ".bench" / "corpus"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.corpus", description=__doc__)
    parser.add_argument("--per-family", type=int, default=1, help="archives of each family (1)")
    parser.add_argument("--workers", type=int, default=2, help="sandboxed workers (2)")
    parser.add_argument("--misses", type=int, default=0, metavar="N", help="name N missed archives and all alarms")
    parser.add_argument("--fit", action="store_true", help="write fitted weights, their documentation and the curve")
    parser.add_argument(
        "--guarddog", type=int, default=0, metavar="N", help="score N archives of each kind with it, too"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the aggregates there")
    parser.add_argument("--kept", type=Path, default=KEPT, metavar="FOLDER", help="where observations are kept")
    arguments = parser.parse_args()
    places = archives.Places.of(os.environ)
    for gap in archives.missing(places):
        print(f"skipped: {gap}")
    chosen = [*archives.malicious(places, per_family=arguments.per_family), *archives.clean(places)]
    if not chosen:
        return
    observations = asyncio.run(observe(chosen, Memory(arguments.kept), arguments.workers))
    print(report.as_text(observations, misses=arguments.misses))
    found = judging.write(observations, _origin(chosen)) if arguments.fit else judging.judgements(observations)
    print(judging.as_text(found))
    beside = _peer(chosen, arguments.guarddog)
    for name, share in beside.items():
        print(f"{name:60s} {share.as_text()}")
    if arguments.json:
        result = {
            "archives": archives.described(chosen),
            **report.as_json(observations),
            "cross_validation": judging.as_json(found),
            "guarddog": {name: share.as_json() for name, share in beside.items()},
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def _peer(chosen: Sequence[archives.Archive], count: int) -> dict[str, Share]:
    sample = peer.sampled(chosen, count, count)
    found = peer.scores(sample) if sample else []
    if found is None:
        print(f"skipped: guarddog, since {peer.VARIABLE} names no interpreter")
    labels = dict(zip((archive.name for archive in sample), (archive.malicious for archive in sample), strict=True))
    return {
        f"guarddog, score >= {peer.SUSPICIOUS:g}: {name}": peer.share([s for s in found if labels[s.name] == malicious])
        for name, malicious in (("families", True), ("clean files", False))
        if found
    }


def _origin(chosen: Sequence[archives.Archive]) -> str:
    counted = archives.described(chosen)
    parts = [f"{counts['archives']} {label}" for label, counts in counted.items()]
    return f"archives, by label: {', '.join(parts)}"


main()
