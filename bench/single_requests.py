"""What a ``Sign`` costs the processor, alone and in a batch, and how long a single one takes, against what no such call
can do without."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.stage import BATCH, SINGLES, Cost, Stage
from bench.table import Aim, Costs, Report

TOGETHER = 32
DURABLE_WRITES = 100
PAUSED = 200
PAUSE_SECONDS = 0.002

RPC, SIGNATURE, VERIFICATION = "an empty RPC", "a signature, module driven directly", "a verification"
WRITE, OURS = "a durable write: SQLite, WAL, FULL", "wharfinger, Sign of one item"

_MOST = 1.5


@dataclass
class _Least:
    """The least of each figure over all rounds, in microseconds."""

    times: dict[str, float] = field(default_factory=dict)
    costs: dict[tuple[str, int], Cost] = field(default_factory=dict)
    medians: dict[tuple[str, int], float] = field(default_factory=dict)

    def time(self, prefix: str, times: dict[str, float], count: int) -> None:
        for name, seconds in times.items():
            key = prefix + name
            self.times[key] = min(seconds / count * 1e6, self.times.get(key, seconds / count * 1e6))

    def cost(self, kind: str, callers: int, cost: Cost) -> None:
        key = kind, callers
        self.costs[key] = min(cost, self.costs.get(key, cost), key=lambda one: one.total)
        self.medians[key] = min(cost.median, self.medians.get(key, cost.median))


def measure(stage: Stage, rounds: int) -> Report:
    """The processor's time of a call with one caller and with several, and the median time with one, by the clock."""
    least = _Least()
    for _ in range(rounds):
        least.time("", stage.direct.ask(count=SINGLES), SINGLES)
        least.time("paused ", stage.direct.ask(count=PAUSED, pause=PAUSE_SECONDS), PAUSED)
        least.time("", stage.durable.ask(count=DURABLE_WRITES), 1)
        least.cost("batch", 1, stage.batch_cost())
        for callers in (1, TOGETHER):
            least.cost("rpc", callers, stage.empty_rpcs(callers))
            least.cost("sign", callers, stage.singles(callers))
    tables = [_processor_time(least, callers) for callers in (1, TOGETHER)]
    aims = [
        Aim(f"processor time of a single Sign, {_many(callers)}", table.ratio(OURS), _MOST, at_least=False)
        for callers, table in zip((1, TOGETHER), tables, strict=True)
    ]
    latency = _latency(least)
    aims.append(Aim("median time of a single Sign, one caller", latency.ratio(OURS), _MOST, at_least=False))
    return Report([_in_batches(least), *tables, latency], aims)


def _in_batches(least: _Least) -> Costs:
    ours = least.costs["batch", 1]
    parts = {SIGNATURE: least.times["signing_cpu"], VERIFICATION: least.times["verifying_cpu"]}
    title = f"Processor time of a signature in batches of {BATCH}"
    return Costs(title, parts, {"wharfinger, each item of a batch": ours.total}, [_by_process(ours)])


def _processor_time(least: _Least, callers: int) -> Costs:
    times, ours = least.times, least.costs["sign", callers]
    parts = {
        RPC: least.costs["rpc", callers].total,
        SIGNATURE: times["signing_cpu"],
        VERIFICATION: times["verifying_cpu"],
    }
    cold = (
        f"signature and verification are measured in a loop; after {PAUSE_SECONDS * 1000:g} ms of sleep, with cold "
        f"caches: {times['paused signing_cpu']:.0f} and {times['paused verifying_cpu']:.0f} µs"
    )
    title = f"Processor time of a single Sign, {_many(callers)}"
    return Costs(title, parts, {OURS: ours.total}, [_by_process(ours), cold])


def _by_process(cost: Cost) -> str:
    return "by process: " + ", ".join(f"{name} {part:.0f}" for name, part in cost.processor.items()) + " µs"


def _latency(least: _Least) -> Costs:
    times = least.times
    parts = {
        RPC: least.medians["rpc", 1],
        SIGNATURE: times["signing"],
        VERIFICATION: times["verifying"],
        WRITE: times["commit"],
    }
    notes = [f"an append and fdatasync on the same file system: {times['append']:.0f} µs"]
    return Costs("Median time of a single Sign, one caller", parts, {OURS: least.medians["sign", 1]}, notes)


def _many(callers: int) -> str:
    return "one caller" if callers == 1 else f"{callers} callers"
