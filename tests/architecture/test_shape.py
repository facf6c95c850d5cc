"""The shape of the code: short modules, short functions, few arguments, names that say something."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for package in ("hsm/wharfinger_hsm", "daemon/wharfinger_daemon", "client/wharfinger_client")
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
)
MOST_LINES_OF_A_MODULE = 300
MOST_LINES_OF_A_FUNCTION = 40
MOST_ARGUMENTS_OF_A_CONSTRUCTOR = 7
SAY_NOTHING = {"utils.py", "common.py", "helpers.py", "misc.py", "base.py"}


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_a_module_is_short_and_its_name_says_something(path: Path) -> None:
    assert path.name not in SAY_NOTHING
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_MODULE


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_functions_are_short_and_constructors_take_little(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert _lines(node) <= MOST_LINES_OF_A_FUNCTION, f"{node.name} at line {node.lineno} is long"
            if node.name == "__init__":
                count = len(node.args.args) + len(node.args.kwonlyargs) - 1
                assert count <= MOST_ARGUMENTS_OF_A_CONSTRUCTOR, f"the constructor at line {node.lineno} takes {count}"


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code: the docstring of a function does not count."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return 0 if not body else (node.end_lineno or 0) - body[0].lineno + 1


def test_only_the_pkcs11_token_imports_pkcs11() -> None:
    importers = [
        identify(path)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "pkcs11" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pkcs11")
    ]
    token = {f"hsm/wharfinger_hsm/pkcs11_{part}.py" for part in ("token", "session", "keys")}
    assert token == set(importers)
