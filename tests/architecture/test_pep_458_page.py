"""The page on PEP 458 names only tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

NAMED = _NAMED.findall((ROOT / "docs/explanation/pep-458.md").read_text(encoding="utf-8"))


def functions_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_page_names_tests() -> None:
    assert NAMED


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_test_exists(path: str, name: str) -> None:
    assert name in functions_in(ROOT / path)
