"""What definitions say of themselves: command classes, parameters, the guard of programs."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from wharfinger_daemon.checks.syntax.effects import Call
from wharfinger_daemon.checks.syntax.values import UNKNOWN, FunctionNode, Value, made_from

COMMAND_CLASSES = frozenset(
    [
        "Command",
        "install",
        "install_lib",
        "install_scripts",
        "install_data",
        "develop",
        "egg_info",
        "build",
        "build_py",
        "build_ext",
        "build_clib",
        "build_scripts",
        "sdist",
        "bdist",
        "bdist_egg",
        "bdist_wheel",
        "test",
        "clean",
        "easy_install",
        "editable_wheel",
        "dist_info",
    ]
)
"""Classes whose heirs an installation runs."""


def as_loaded(target: ast.expr) -> ast.expr:
    """A target as the expression that reads it."""
    return ast.Name(id=target.id, ctx=ast.Load()) if isinstance(target, ast.Name) else target


def is_main_guard(test: ast.expr) -> bool:
    """Whether it compares ``__name__``."""
    parts: Sequence[ast.expr] = [test.left, *test.comparators] if isinstance(test, ast.Compare) else []
    return any(isinstance(part, ast.Name) and part.id == "__name__" for part in parts)


def parameters(node: FunctionNode, function: Value, call: Call) -> dict[str, Value]:
    """The local names that a call begins with."""
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    arguments = list(call.arguments)
    if names[:1] == ["self"] and len(arguments) < len(names):
        arguments.insert(0, call.receiver)
    local = dict(zip(names, arguments, strict=False))
    local.update({name: value for name, value in call.keywords.items() if not name.startswith("**")})
    if node.args.vararg is not None:
        local[node.args.vararg.arg] = made_from(arguments[len(names) :])
    return {name: local.get(name, UNKNOWN) for name in names} | local
