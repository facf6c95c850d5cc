"""A table of rates measured in one run, each as a ratio to the floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as RichTable


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
        table = RichTable("", f"{self.unit}/s", "of the floor", title=self.title, title_justify="left", box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for name, rate in self.rates.items():
            table.add_row(name, f"{rate:,.1f}", f"{self.ratio(name):.3f}")
        console = Console(width=110, highlight=False)
        with console.capture() as captured:
            console.print(table)
            for note in self.notes:
                console.print(f"  {note}")
        return captured.get()


def best_rates(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The best rate of each contestant over interleaved rounds: the machine is noisy, and noise only slows."""
    best = dict.fromkeys(contestants, 0.0)
    for _ in range(rounds):
        for name, measure in contestants.items():
            best[name] = max(best[name], measure())
    return best
