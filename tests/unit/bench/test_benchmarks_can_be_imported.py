"""A benchmark that nobody runs for a while must not break unseen."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "bench"
MODULES = sorted(f"bench.{file.stem}" for file in BENCH.glob("*.py") if not file.stem.startswith("__"))


@pytest.mark.parametrize("module", MODULES)
def test_a_benchmark_can_be_imported(module: str) -> None:
    importlib.import_module(module)
