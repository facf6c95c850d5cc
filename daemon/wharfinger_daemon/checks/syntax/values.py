"""Abstract values: what is known about an expression without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

Constant = str | bytes | int
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_VISIBLE_CHARACTERS = 10_000
_MOST_PARTS = 10_000

MOST_ELEMENTS = 20_000
"""Longer sequences are not followed element by element."""


class Taint(Enum):
    """Where content came from."""

    DECODED = auto()
    """Out of base64, a compressor, a cipher, marshal or the like."""
    DOWNLOADED = auto()
    """From the network."""
    HOST = auto()
    """Says who and where the user is: host name, user name, the whole environment."""
    SECRET = auto()
    """Out of a file that holds secrets."""
    KEY = auto()
    """By its name, a private key, a mnemonic or a seed phrase."""
    SPELLED = auto()
    """Put together character by character, or by exclusive or."""


@dataclass(frozen=True, eq=False)
class Value:
    """What is known. Compared by identity: two calls of one function are two values.

    Attributes:
        path: the dotted name of what this is, such as ``os.system``; of a call's result, with ``()`` behind.
        constant: what it evaluates to; None if that is not known.
        items: the members of a display, or the values that a computed one was made from.
        taints: where its content came from.
        assembled: the constant was computed in a way that hides it from somebody who reads or searches the source.
        function: the local function or lambda that it is.
        members: of a local class: its methods by name.
    """

    path: str = ""
    constant: Constant | None = None
    items: tuple[Value, ...] = ()
    taints: frozenset[Taint] = frozenset()
    assembled: bool = False
    function: FunctionNode | None = None
    members: dict[str, FunctionNode] | None = None

    @property
    def text(self) -> str:
        """The constant as text, undecodable bytes replaced; empty if there is none."""
        if isinstance(self.constant, bytes):
            return self.constant.decode("utf-8", errors="replace")
        return self.constant if isinstance(self.constant, str) else ""

    @property
    def visible(self) -> str:
        """All texts in it, joined by spaces: a command line whose arguments are partly known."""
        words: list[str] = []
        left = _VISIBLE_CHARACTERS
        for part in self.walk():
            word = part.text[:left]
            if word:
                words.append(word)
                left -= len(word)
            if left <= 0:
                break
        return " ".join(words)

    def walk(self) -> Iterator[Value]:
        """This value and what it was made from, in order; a constant hides its parts."""
        waiting = [self]
        for _ in range(_MOST_PARTS):
            if not waiting:
                return
            value = waiting.pop()
            yield value
            if value.constant is None:
                waiting.extend(reversed(value.items))


UNKNOWN = Value()


def taints_of(values: Iterable[Value]) -> frozenset[Taint]:
    """The union of their taints."""
    found: frozenset[Taint] = frozenset()
    for value in values:
        found |= value.taints
    return found


def made_from(values: Iterable[Value], path: str = "", extra: Iterable[Taint] = ()) -> Value:
    """A value of unknown content that depends on others."""
    items = tuple(values)
    return Value(path=path, items=items, taints=taints_of(items) | frozenset(extra))


def with_taint(value: Value, taint: Taint) -> Value:
    """The same value, known to come from there, too."""
    return replace(value, taints=value.taints | {taint})


def without_key(value: Value) -> Value:
    """A value that does not give away the key that it was made with."""
    return replace(value, items=(), taints=value.taints - {Taint.KEY}) if Taint.KEY in value.taints else value


def attribute(value: Value, name: str) -> Value:
    """An attribute of a value."""
    if value.members is not None and name in value.members:
        return Value(function=value.members[name], taints=value.taints)
    if value.path and name == "__dict__":
        return value
    if value.path:
        items = (value,) if value.items or value.taints else ()
        return Value(path=f"{value.path}.{name}", items=items, taints=value.taints, assembled=value.assembled)
    return made_from((value,)) if value.taints or value.items or value.constant is not None else UNKNOWN


def elements(value: Value) -> tuple[Value, ...]:
    """What iterating over it gives, if that is known."""
    if isinstance(value.constant, str | bytes):
        return tuple(Value(constant=element, taints=value.taints) for element in value.constant[: MOST_ELEMENTS + 1])
    return value.items if not value.path else ()


def are_displays(left: Value, right: Value) -> bool:
    """They are lists or tuples whose sum is followed element by element; one that doubles without end is not."""
    known = left.items and right.items and not left.path and not right.path
    return bool(known) and len(left.items) + len(right.items) <= MOST_ELEMENTS


def is_namespace(value: Value) -> bool:
    """It is a module, or a dictionary of names: what stands in it is reached by a text."""
    return value.path in ("builtins", "sys.modules", "builtins.globals()", "builtins.locals()") or (
        bool(value.path) and "." not in value.path and not value.items
    )


def renamed(value: Value, assembled: bool) -> Value:
    """The value, known to be reached by a text that was put together, if it was."""
    if not assembled:
        return value
    return Value(path=value.path, items=value.items, taints=value.taints, assembled=True, function=value.function)
