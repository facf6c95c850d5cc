"""Single ``Sign`` calls: what one costs, and how long one takes, against what no such call can do without."""

from __future__ import annotations

from collections.abc import Callable

from bench.stage import SINGLES, Stage
from bench.table import Aim, Costs, Report

TOGETHER = 32
DURABLE_WRITES = 100

RPC, SIGNATURE, VERIFICATION = "an empty RPC", "a signature, module driven directly", "a verification"
WRITE, OURS = "a durable write: SQLite, WAL, FULL", "wharfinger, Sign of one item"

_MOST = 1.5


def measure(stage: Stage, rounds: int) -> Report:
    """The processor's time of a call with one caller and with several, and the median time with one, by the clock."""
    least: dict[str, float] = {}
    for _ in range(rounds):
        for name, measured in _round(stage).items():
            least[name] = min(measured, least.get(name, measured))
    tables, aims = [], []
    for callers, title in ((1, "one caller"), (TOGETHER, f"{TOGETHER} callers")):
        table = Costs(
            f"Processor time of one Sign, all processes together, {title}",
            {RPC: least[f"rpc cpu {callers}"], SIGNATURE: least["signing_cpu"], VERIFICATION: least["verifying_cpu"]},
            {OURS: least[f"sign cpu {callers}"]},
        )
        tables.append(table)
        aims.append(Aim(f"processor time of a single Sign, {title}", table.ratio(OURS), _MOST, at_least=False))
    latency = Costs(
        "Median time of one Sign, one caller",
        {RPC: least["rpc 1"], SIGNATURE: least["signing"], VERIFICATION: least["verifying"], WRITE: least["commit"]},
        {OURS: least["sign 1"]},
        [f"an append and fdatasync on the same file system: {least['append']:.0f} µs"],
    )
    aims.append(Aim("median time of a single Sign, one caller", latency.ratio(OURS), _MOST, at_least=False))
    return Report([*tables, latency], aims)


def _round(stage: Stage) -> dict[str, float]:
    """Each figure once, in microseconds."""
    found = {name: seconds / SINGLES * 1e6 for name, seconds in stage.direct.ask(count=SINGLES).items()}
    found |= {name: seconds * 1e6 for name, seconds in stage.durable.ask(count=DURABLE_WRITES).items()}
    kinds: dict[str, Callable[[int], tuple[float, float]]] = {"rpc": stage.empty_rpcs, "sign": stage.singles}
    for callers in (1, TOGETHER):
        for kind, cost in kinds.items():
            found[f"{kind} cpu {callers}"], found[f"{kind} {callers}"] = cost(callers)
    return found
