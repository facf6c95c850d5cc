"""Tables of what was measured in one run, each row as a ratio to a floor, and the aims that such ratios have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.table import Table as RichTable


class Result(Protocol):
    """What a benchmark returns."""

    def as_json(self) -> dict[str, object]: ...

    def as_text(self) -> str: ...


@dataclass
class Table:
    """Rates by name. The first row is the floor.

    Attributes:
        unit: what is counted a second.
    """

    title: str
    unit: str
    rates: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def ratio(self, name: str) -> float:
        """The rate of one row as a part of the floor's."""
        floor = next(iter(self.rates.values()))
        return self.rates[name] / floor

    def as_json(self) -> dict[str, object]:
        return {
            "title": self.title,
            "unit": f"{self.unit} a second",
            "rows": [
                {"name": name, "rate": round(rate, 2), "ratio_to_floor": round(self.ratio(name), 4)}
                for name, rate in self.rates.items()
            ],
            "notes": self.notes,
        }

    def as_text(self) -> str:
        rows = [(name, f"{rate:,.1f}", f"{self.ratio(name):.3f}") for name, rate in self.rates.items()]
        return _text(self.title, f"{self.unit}/s", rows, self.notes)


@dataclass
class Costs:
    """Times by name, in microseconds. The floor is the sum of its parts.

    Attributes:
        parts: what cannot be had for less, measured alone.
        ours: what is compared with their sum.
    """

    title: str
    parts: dict[str, float]
    ours: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def floor(self) -> float:
        """Microseconds."""
        return sum(self.parts.values())

    def ratio(self, name: str) -> float:
        """The cost of one of ours, as a multiple of the floor."""
        return self.ours[name] / self.floor

    def as_json(self) -> dict[str, object]:
        times = self.parts | {"floor": self.floor} | self.ours
        return {
            "title": self.title,
            "unit": "microseconds",
            "rows": [
                {"name": name, "microseconds": round(time, 1), "ratio_to_floor": round(time / self.floor, 4)}
                for name, time in times.items()
            ],
            "notes": self.notes,
        }

    def as_text(self) -> str:
        times = self.parts | {"the floor, their sum": self.floor} | self.ours
        rows = [(name, f"{time:,.0f}", f"{time / self.floor:.2f}") for name, time in times.items()]
        return _text(self.title, "µs", rows, self.notes)


@dataclass(frozen=True)
class Aim:
    """What a ratio should be.

    Attributes:
        at_least: whether more is better.
    """

    name: str
    ratio: float
    aim: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.ratio >= self.aim if self.at_least else self.ratio <= self.aim

    def as_json(self) -> dict[str, object]:
        bound = "at_least" if self.at_least else "at_most"
        return {"name": self.name, "ratio": round(self.ratio, 4), bound: self.aim, "met": self.met}

    def as_text(self) -> str:
        bound = "at least" if self.at_least else "at most"
        return f"  {'met ' if self.met else 'MISSED'} {self.name}: {self.ratio:.2f} ({bound} {self.aim:g})"


@dataclass
class Report:
    """Several tables of one run, and what they should have shown."""

    tables: Sequence[Result]
    aims: Sequence[Aim]

    def as_json(self) -> dict[str, object]:
        return {
            "tables": [table.as_json() for table in self.tables],
            "aims": [aim.as_json() for aim in self.aims],
        }

    def as_text(self) -> str:
        return "\n".join([*(table.as_text() for table in self.tables), "Aims", *(aim.as_text() for aim in self.aims)])


def best_rates(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The best rate of each contestant over interleaved rounds: the machine is noisy, and noise only slows."""
    best = dict.fromkeys(contestants, 0.0)
    for _ in range(rounds):
        for name, measure in contestants.items():
            best[name] = max(best[name], measure())
    return best


def _text(title: str, unit: str, rows: Sequence[tuple[str, str, str]], notes: Sequence[str]) -> str:
    table = RichTable("", unit, "of the floor", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console = Console(width=130, highlight=False)
    with console.capture() as captured:
        console.print(f"{title}\n")
        console.print(table)
        for note in notes:
            console.print(f"  {note}")
    return captured.get()
