"""``python -m bench.corpus``: scans the labelled archives and says what was found; skips a corpus that is not there."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from bench.corpus import archives, report
from bench.corpus.observations import Memory, observe

KEPT = Path(__file__).parents[2] / ".bench" / "corpus"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.corpus", description=__doc__)
    parser.add_argument("--per-family", type=int, default=1, help="archives of each family (1)")
    parser.add_argument("--workers", type=int, default=2, help="sandboxed workers (2)")
    parser.add_argument("--misses", type=int, default=0, metavar="N", help="name N missed archives and all alarms")
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
    if arguments.json:
        result = {"archives": archives.described(chosen), **report.as_json(observations)}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


main()
