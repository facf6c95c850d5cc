"""Evaluates expressions to abstract values."""

from __future__ import annotations

import ast
import builtins
from abc import ABC, abstractmethod
from collections.abc import Callable

from wharfinger_daemon.checks.syntax import catalogue, folding
from wharfinger_daemon.checks.syntax.effects import Call, Effects, source_of
from wharfinger_daemon.checks.syntax.values import (
    MOST_ELEMENTS,
    UNKNOWN,
    Taint,
    Value,
    are_displays,
    attribute,
    elements,
    is_namespace,
    made_from,
    renamed,
    taints_of,
    with_taint,
)

_BUILTIN_NAMES = frozenset(dir(builtins)) | {"execfile", "unicode", "unichr"}
_MAX_DEPTH = 120


class BudgetSpentError(Exception):
    """The module is too large or too deep to be followed to its end."""


class Expressions(ABC):
    """The half of the interpreter that knows expressions; statements are in ``interpreter``."""

    def __init__(self, effects: Effects, steps: int) -> None:
        self.effects = effects
        self.scopes: list[dict[str, Value]] = [{}]
        self._steps = steps
        self._depth = 0
        self._handlers: dict[type[ast.expr], Callable[..., Value]] = {
            ast.Constant: self._of_constant,
            ast.Name: self._of_name,
            ast.Attribute: self._of_attribute,
            ast.Call: self._of_call,
            ast.BinOp: self._of_operation,
            ast.UnaryOp: self._of_sign,
            ast.JoinedStr: self._of_joined_text,
            ast.FormattedValue: lambda node: self.evaluate(node.value),
            ast.Subscript: self._of_subscript,
            ast.Lambda: lambda node: Value(function=node),
            ast.NamedExpr: self._of_named,
            ast.ListComp: self._of_comprehension,
            ast.GeneratorExp: self._of_comprehension,
            ast.SetComp: self._of_comprehension,
            ast.Await: lambda node: self.evaluate(node.value),
            ast.Starred: lambda node: self.evaluate(node.value),
        }

    def bind(self, name: str, value: Value) -> None:
        """Gives a name of the innermost scope a value; after branches, the last one counts."""
        self.scopes[-1][name] = value

    def look_up(self, name: str) -> Value:
        """What a name stands for: a local or global of the module, or a builtin."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        if name in ("__builtins__", "builtins"):
            return Value(path="builtins")
        return Value(path=f"builtins.{name}") if name in _BUILTIN_NAMES else UNKNOWN

    # ---- Expressions

    def evaluate(self, node: ast.expr | None) -> Value:
        """The value of an expression; reports on the way what its calls do.

        Raises:
            BudgetSpentError: it goes deeper, or on for longer, than is followed.
        """
        if node is None:
            return UNKNOWN
        self.spend(1)
        if self._depth >= _MAX_DEPTH:
            raise BudgetSpentError
        self._depth += 1
        try:
            handler = self._handlers.get(type(node), self._of_parts)
            return handler(node)
        finally:
            self._depth -= 1

    def spend(self, steps: int) -> None:
        """Takes from what the module may cost."""
        self._steps -= steps
        if self._steps < 0:
            raise BudgetSpentError

    @abstractmethod
    def call_local(self, function: Value, call: Call) -> Value:
        """Calls a function of the module itself."""

    @abstractmethod
    def run_source(self, code: Value) -> None:
        """Follows code that is given to exec as a constant."""

    def _of_parts(self, node: ast.expr) -> Value:
        """Displays, comparisons, conditionals: everything that merely has parts."""
        parts = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        if len(parts) > 64 and all(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts):
            return UNKNOWN  # A long table of words need not be remembered; one of numbers may be hidden text.
        values = [self.evaluate(part) for part in parts]
        # {**os.environ} is the whole environment, as a copy of it is.
        extra = [Taint.HOST] if any(value.path == "os.environ" for value in values) else []
        return made_from(values, extra=extra)

    def _of_constant(self, node: ast.Constant) -> Value:
        constant = node.value
        return Value(constant=constant) if isinstance(constant, str | bytes | int) else UNKNOWN

    def _of_name(self, node: ast.Name) -> Value:
        return _as_named(self.look_up(node.id), node.id)

    def _of_attribute(self, node: ast.Attribute) -> Value:
        return _as_named(attribute(self.evaluate(node.value), node.attr), node.attr)

    def _of_named(self, node: ast.NamedExpr) -> Value:
        value = self.evaluate(node.value)
        self.bind(node.target.id, value)
        return value

    def _of_operation(self, node: ast.BinOp) -> Value:
        # Long sums lean to the left: walk down that side without recursion.
        right_sides: list[tuple[str, ast.expr]] = []
        current: ast.expr = node
        while isinstance(current, ast.BinOp):
            right_sides.append((type(current.op).__name__, current.right))
            current = current.left
        value = self.evaluate(current)
        for operation, right in reversed(right_sides):
            value = _operated(operation, value, self.evaluate(right))
        return value

    def _of_sign(self, node: ast.UnaryOp) -> Value:
        value = self.evaluate(node.operand)
        if isinstance(node.op, ast.USub) and isinstance(value.constant, int):
            return Value(constant=-value.constant)
        return made_from((value,))

    def _of_joined_text(self, node: ast.JoinedStr) -> Value:
        parts = [self.evaluate(part) for part in node.values]
        constants = [part.constant for part in parts]
        if all(isinstance(constant, str | int) for constant in constants):
            return Value(constant="".join(map(str, constants)), taints=taints_of(parts), assembled=True)
        return made_from(parts)

    def _of_subscript(self, node: ast.Subscript) -> Value:
        value = self.evaluate(node.value)
        if isinstance(node.slice, ast.Slice):
            return self._cut(value, node.slice)
        key = self.evaluate(node.slice)
        if isinstance(key.constant, str) and is_namespace(value):
            found = self._from_namespace(value, key.constant)
            return renamed(found, key.assembled)
        if isinstance(key.constant, int):
            if value.constant is not None:
                constant = folding.cut(value.constant, key.constant)
                return Value(constant=constant, taints=value.taints, assembled=True)
            if -len(value.items) <= key.constant < len(value.items) and not value.path:
                return value.items[key.constant]
        return made_from((value, key))

    def _cut(self, value: Value, node: ast.Slice) -> Value:
        bounds = [
            self.evaluate(part).constant if part is not None else None for part in (node.lower, node.upper, node.step)
        ]
        if value.constant is None or any(isinstance(bound, str | bytes) for bound in bounds):
            return made_from((value,))
        constant = folding.cut(value.constant, slice(*bounds))
        return Value(constant=constant, taints=value.taints, assembled=True)

    def _from_namespace(self, namespace: Value, key: str) -> Value:
        if namespace.path in ("builtins.globals()", "builtins.locals()"):
            return self.look_up(key)
        if namespace.path == "sys.modules":
            return Value(path=key)
        return attribute(namespace, key)

    def _of_comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Value:
        generator = node.generators[0]
        source = self.evaluate(generator.iter)
        items = elements(source)
        simple = len(node.generators) == 1 and not generator.ifs and isinstance(generator.target, ast.Name)
        if not simple or not items or len(items) > MOST_ELEMENTS:
            for each in node.generators:
                self.bind_target(each.target, made_from((source,)))
            return made_from((source, self.evaluate(node.elt)))
        assert isinstance(generator.target, ast.Name)
        results = []
        for item in items:
            self.bind(generator.target.id, item)
            results.append(self.evaluate(node.elt))
        return made_from(results)

    def bind_target(self, target: ast.expr, value: Value) -> None:
        """Binds the names of an assignment's left side."""
        if isinstance(target, ast.Name):
            self.bind(target.id, value)
        elif isinstance(target, ast.Tuple | ast.List):
            exact = len(value.items) == len(target.elts) and not value.path
            for index, part in enumerate(target.elts):
                self.bind_target(part, value.items[index] if exact else made_from((value,)))
        elif isinstance(target, ast.Starred):
            self.bind_target(target.value, value)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            self.bind(f"{target.value.id}.{target.attr}", value)

    # ---- Calls

    def _of_call(self, node: ast.Call) -> Value:
        receiver = self.evaluate(node.func.value) if isinstance(node.func, ast.Attribute) else UNKNOWN
        function = (
            attribute(receiver, node.func.attr) if isinstance(node.func, ast.Attribute) else self.evaluate(node.func)
        )
        arguments = [self.evaluate(argument) for argument in node.args]
        keywords = {
            keyword.arg or f"**{index}": self.evaluate(keyword.value) for index, keyword in enumerate(node.keywords)
        }
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        call = Call(function.path, receiver, arguments, keywords, method)
        if function.assembled:
            self.effects.disguised(function.path)
        if function.function is not None or function.members is not None:
            return self.call_local(function, call)
        return self._known_call(call)

    def _known_call(self, call: Call) -> Value:
        named = self._named_by_text(call)
        if named is not None:
            return named
        if call.path in ("builtins.map", "builtins.filter") and len(call.arguments) == 2:
            return self._mapped(call)
        if call.path in catalogue.RUNNERS:
            for value in call.inputs:
                if value.function is not None:
                    self.call_local(value, Call(path="", receiver=UNKNOWN, arguments=[]))
        result = self.effects.of(call)
        if call.path in catalogue.EXECUTORS or call.path in catalogue.PROCESSES:
            for source in (source_of(call), *self.effects.started_sources(call)):
                self.run_source(source)
        return result

    def _named_by_text(self, call: Call) -> Value | None:
        """What is reached by a text instead of a name, if the text is known."""
        if call.path == "builtins.getattr" and len(call.arguments) >= 2 and call.arguments[1].text:
            return renamed(attribute(call.first, call.arguments[1].text), call.arguments[1].assembled)
        if call.path in catalogue.IMPORTERS and call.first.text:
            return renamed(Value(path=call.first.text), call.first.assembled)
        if call.path == "builtins.vars" and call.arguments:
            return call.first
        if call.path == "builtins.eval" and isinstance(call.first.constant, str):
            return self._evaluated(call)
        return None

    def _evaluated(self, call: Call) -> Value:
        """What eval gives for a text that is known: ``eval("os.sys" + "tem")`` is the function."""
        self.effects.of(call)
        try:
            tree = ast.parse(call.first.text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return UNKNOWN
        return renamed(self.evaluate(tree.body), call.first.assembled)

    def _mapped(self, call: Call) -> Value:
        function, source = call.arguments
        items = elements(source)[:MOST_ELEMENTS] or (made_from((source,)),)
        results = []
        for item in items:
            self.spend(1)
            each = Call(path=function.path, receiver=UNKNOWN, arguments=[item])
            results.append(self.call_local(function, each) if function.function is not None else self._known_call(each))
        return made_from(results)


def _as_named(value: Value, name: str) -> Value:
    is_key = not value.path.startswith("builtins.") and catalogue.KEY_NAMES.fullmatch(name) is not None
    return with_taint(value, Taint.KEY) if is_key and value.function is None else value


def _operated(operation: str, left: Value, right: Value) -> Value:
    if left.constant is not None and right.constant is not None:
        constant = folding.combine(operation, left.constant, right.constant)
        if constant is not None:
            return Value(constant=constant, taints=left.taints | right.taints, assembled=True)
    if operation == "Add" and are_displays(left, right):
        return made_from((*left.items, *right.items))
    return made_from((left, right), extra=[Taint.SPELLED] if operation == "BitXor" else [])
