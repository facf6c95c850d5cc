"""``python -m bench [NAME...]``: runs the benchmarks, prints their tables, and writes them to ``bench/results``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from bench import publishing, refreshing, review_pages, scale, scanning, serving, signing
from bench.table import Result

BENCHMARKS: dict[str, Callable[[int], Result]] = {
    "signing": signing.run,
    "publishing": publishing.run,
    "scale": scale.run,
    "serving": serving.run,
    "refreshing": refreshing.run,
    "scanning": scanning.run,
    "review-pages": review_pages.run,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the best of each counts (5)")
    parser.add_argument("--targets", type=int, default=1_000_000, help="how many targets scale imports (1,000,000)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    RESULTS.mkdir(exist_ok=True)
    benchmarks = BENCHMARKS | {"scale": lambda rounds: scale.run(rounds, arguments.targets)}
    for name in arguments.names or benchmarks:
        result = benchmarks[name](arguments.rounds)
        (RESULTS / f"{name}.json").write_text(json.dumps(result.as_json(), indent=2, ensure_ascii=False) + "\n")
        print(json.dumps(result.as_json()) if arguments.json else result.as_text())


main()
