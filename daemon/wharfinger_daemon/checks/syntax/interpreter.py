"""Follows the statements of a module that run by themselves, and the local functions that these call.

Branches are followed one after another, loops once, functions with the values that they are called with. What is only
defined and never called is followed afterwards, if that is asked for, with arguments that nothing is known of: what it
does is *latent*, since somebody else has to call it. The result is a list of behaviours with their lines.
"""

from __future__ import annotations

import ast
import contextlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wharfinger_daemon.checks.syntax.definitions import COMMAND_CLASSES, as_loaded, is_main_guard, parameters
from wharfinger_daemon.checks.syntax.effects import Call, Effects
from wharfinger_daemon.checks.syntax.expressions import BudgetSpentError, Expressions
from wharfinger_daemon.checks.syntax.values import UNKNOWN, FunctionNode, Value, attribute, made_from

MAX_STEPS = 1_000_000
MAX_LATENT_STEPS = 300_000
_MAX_CALL_DEPTH = 12
_MAX_CALLS_OF_ONE = 20
_MAX_SOURCE_DEPTH = 5


@dataclass(frozen=True)
class Behaviour:
    """Something that the code does, where it does it; ``latent`` if it does so only when another module calls it."""

    name: str
    message: str
    line: int
    latent: bool = False


@dataclass(frozen=True)
class Analysis:
    """What was found; ``complete`` is false when the module was not followed to its end."""

    behaviours: tuple[Behaviour, ...]
    complete: bool


def analyse(tree: ast.Module, *, as_program: bool, latent: bool = False) -> Analysis:
    """Follows a module.

    Args:
        as_program: it runs as ``__main__`` and its command classes run too, as those of a setup.py do.
        latent: follow also what is only defined, as far as ``MAX_LATENT_STEPS`` go; completeness does not depend on it.
    """
    interpreter = _Interpreter(as_program=as_program)
    complete = True
    try:
        interpreter.follow(tree.body)
        interpreter.run_commands()
    except (BudgetSpentError, RecursionError):
        complete = False
    if latent:
        with contextlib.suppress(BudgetSpentError, RecursionError):
            interpreter.run_defined()
    return Analysis(tuple(interpreter.found.values()), complete and not (as_program and interpreter.cut_off))


def parse(source: str | bytes) -> ast.Module:
    """The syntax tree.

    Raises:
        SyntaxError: it is not Python, as this version knows it.
        RecursionError, MemoryError: it is nested too deeply for the parser.
        ValueError: it has null bytes.
    """
    with warnings.catch_warnings():
        # Invalid escapes and the like are the business of whoever wrote it.
        warnings.simplefilter("ignore")
        return ast.parse(source)


class _Interpreter(Expressions):
    def __init__(self, *, as_program: bool) -> None:
        super().__init__(Effects(self._report), MAX_STEPS)
        self.found: dict[tuple[str, int], Behaviour] = {}
        self._as_program = as_program
        self._line = 0
        self._line_is_fixed = False
        self._source_depth = 0
        self._returned: list[list[Value]] = []
        self._calls: dict[FunctionNode, int] = {}
        self.cut_off = False
        self._commands: list[Value] = []
        self._defined: list[FunctionNode] = []
        self._guarded: list[list[ast.stmt]] = []
        self._latent = False
        self._statements: dict[type[ast.stmt], Callable[..., None]] = {
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.Assign: self._assign,
            ast.AugAssign: self._assign_more,
            ast.AnnAssign: lambda node: self.bind_target(node.target, self.evaluate(node.value)),
            ast.FunctionDef: self._define,
            ast.AsyncFunctionDef: self._define,
            ast.ClassDef: self._define_class,
            ast.If: self._if,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Return: self._return,
        }

    def follow(self, body: Iterable[ast.stmt]) -> None:
        """Follows statements one after another."""
        for statement in body:
            self.spend(1)
            if not self._line_is_fixed:
                self._line = statement.lineno
            handler = self._statements.get(type(statement))
            if handler is not None:
                handler(statement)
            else:
                self._follow_parts(statement)

    def run_commands(self) -> None:
        """Calls all methods of command classes, as an installation does."""
        for command in self._commands:
            for name in command.members or ():
                self.call_local(attribute(command, name), Call("", UNKNOWN, [command]))

    def run_defined(self) -> None:
        """Calls what nobody called, with unknown arguments; what it does is latent."""
        self._latent = True
        self._steps = MAX_LATENT_STEPS
        # Functions that are met on the way are added behind.
        for body in self._guarded:
            self.follow(body)
        for function in self._defined:
            if function not in self._calls:
                self.call_local(Value(function=function), Call("", UNKNOWN, []))

    def call_local(self, function: Value, call: Call) -> Value:
        if function.members is not None:
            initialiser = function.members.get("__init__")
            if initialiser is not None:
                self.call_local(
                    Value(function=initialiser), Call("", UNKNOWN, [function, *call.arguments], call.keywords)
                )
            return Value(members=function.members, items=tuple(call.inputs), path="")
        node = function.function
        assert node is not None
        self._calls[node] = self._calls.get(node, 0) + 1
        if self._calls[node] > _MAX_CALLS_OF_ONE or len(self.scopes) > _MAX_CALL_DEPTH:
            # What calls itself was followed before; what is met here for the first time was not.
            self.cut_off = self.cut_off or self._calls[node] == 1
            return made_from(call.inputs)
        line = self._line
        self.scopes.append(parameters(node, function, call))
        self._returned.append([])
        try:
            if isinstance(node, ast.Lambda):
                return self.evaluate(node.body)
            self.follow(node.body)
            returned = self._returned[-1]
            return returned[0] if len(returned) == 1 else made_from(returned)
        finally:
            self._returned.pop()
            self.scopes.pop()
            self._line = line

    def run_source(self, code: Value) -> None:
        if not isinstance(code.constant, str | bytes) or self._source_depth >= _MAX_SOURCE_DEPTH:
            return
        try:
            tree = parse(code.constant)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        was_fixed = self._line_is_fixed
        self._line_is_fixed = True
        self._source_depth += 1
        try:
            self.follow(tree.body)
        finally:
            self._source_depth -= 1
            self._line_is_fixed = was_fixed

    def _report(self, name: str, message: str) -> None:
        # What runs by itself was found first, and is not latent because another function does it, too.
        self.found.setdefault((name, self._line), Behaviour(name, message, self._line, self._latent))

    # ---- Statements

    def _follow_parts(self, statement: ast.stmt) -> None:
        for _, child in ast.iter_fields(statement):
            for part in child if isinstance(child, list) else [child]:
                if isinstance(part, ast.expr):
                    self.evaluate(part)
                elif isinstance(part, ast.stmt):
                    self.follow([part])
                elif isinstance(part, ast.ExceptHandler | ast.match_case):
                    self.follow(part.body)

    def _import(self, node: ast.Import) -> None:
        for name in node.names:
            if name.asname is not None:
                self.bind(name.asname, Value(path=name.name))
            else:
                top = name.name.partition(".")[0]
                self.bind(top, Value(path=top))

    def _import_from(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for name in node.names:
            self.bind(name.asname or name.name, Value(path=f"{module}.{name.name}"))

    def _assign(self, node: ast.Assign) -> None:
        value = self.evaluate(node.value)
        for target in node.targets:
            self.bind_target(target, value)

    def _assign_more(self, node: ast.AugAssign) -> None:
        both = ast.BinOp(left=as_loaded(node.target), op=node.op, right=node.value)
        self.bind_target(node.target, self.evaluate(both))

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            self.evaluate(part)
        self.bind(node.name, Value(function=node))
        self._defined.append(node)

    def _define_class(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.evaluate(decorator)
        bases = [self.evaluate(base) for base in node.bases]
        self.scopes.append({})
        try:
            self.follow(node.body)
        finally:
            inner = self.scopes.pop()
        methods = {name: value.function for name, value in inner.items() if value.function is not None}
        inherited = [base.members for base in bases if base.members is not None]
        for members in inherited:
            methods = {**members, **methods}
        value = Value(members=methods)
        self.bind(node.name, value)
        names = {base.path.rpartition(".")[2] for base in bases} | {
            ast.unparse(base) for base in node.bases[:1] if isinstance(base, ast.Name)
        }
        if self._as_program and (names & COMMAND_CLASSES or "run" in methods):
            self._commands.append(value)

    def _if(self, node: ast.If) -> None:
        if is_main_guard(node.test) and not self._as_program and not self._line_is_fixed:
            self._guarded.append(node.body)
            self.follow(node.orelse)
            return
        if isinstance(node.test, ast.Name | ast.Attribute) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            self.follow(node.orelse)
            return
        self.evaluate(node.test)
        self.follow(node.body)
        self.follow(node.orelse)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        source = self.evaluate(node.iter)
        self.bind_target(node.target, made_from((source,)))
        self.follow(node.body)
        self.follow(node.orelse)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            value = self.evaluate(item.context_expr)
            if item.optional_vars is not None:
                self.bind_target(item.optional_vars, value)
        self.follow(node.body)

    def _return(self, node: ast.Return) -> None:
        value = self.evaluate(node.value)
        if self._returned:
            self._returned[-1].append(value)
