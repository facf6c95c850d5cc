"""Writes fitted weights where they are used and where they are documented: nobody copies numbers by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

Weights = Mapping[tuple[str, str], float]

_STAGES = ("install", "import", "startup")


def as_module(weights: Weights, origin: str) -> str:
    """The source of ``scanning/fitted_weights.py``."""
    rows = [f'    ("{check}", "{rule}"): {weight},' for (check, rule), weight in sorted(weights.items())]
    lines = [
        '"""Weights that were fitted over labelled archives. Written by ``python -m bench.corpus --fit``.',
        "",
        f"Fitted over {origin}.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping",
        "",
        "FITTED: Mapping[tuple[str, str], float] = {",
        *rows,
        "}",
        "",
    ]
    return "\n".join(lines)


def with_weights(page: str, weights: Weights) -> str:
    """docs/reference/checks.md with the numbers of its tables replaced."""
    check = ""
    lines = []
    for line in page.split("\n"):
        heading = re.fullmatch(r"## `([a-z-]+)`", line)
        check = heading[1] if heading else check
        lines.append(_row(line, check, weights))
    return "\n".join(lines)


def update(weights: Weights, every: Weights, origin: str, root: Path) -> None:
    """Writes the module and the page.

    Args:
        weights: the fitted ones.
        every: all that are in force, for the page.
        origin: what they were fitted over, in words.
        root: the repository.
    """
    module = root / "daemon" / "wharfinger_daemon" / "scanning" / "fitted_weights.py"
    module.write_text(as_module(weights, origin), encoding="utf-8")
    page = root / "docs" / "reference" / "checks.md"
    page.write_text(with_weights(page.read_text(encoding="utf-8"), every), encoding="utf-8")


def _row(line: str, check: str, weights: Weights) -> str:
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    rule = cells[0].strip("`")
    if not line.startswith("| `") or not check:
        return line
    if (check, rule) in weights:
        cells[1] = f"{weights[check, rule]:g}"
    elif (check, f"install-{rule}") in weights:
        cells[1:4] = [f"{weights[check, f'{stage}-{rule}']:g}" for stage in _STAGES]
    else:
        return line
    return "| " + " | ".join(cells) + " |"
