"""What a text must contain before a regular expression can match in it.

YARA-X reads regular expressions with Rust's ``regex-syntax``, this module with Python's parser. Where the two could
disagree, nothing is needed.
"""

from __future__ import annotations

import re
import string
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from re import _constants as sre  # type: ignore[attr-defined]  # isort: skip
from re import _parser  # type: ignore[attr-defined]  # isort: skip

from wharfinger_daemon.scanning.plugin import AllOf, AnyOf, Literal, Need, Run

FEWEST_CHARACTERS = 3
_SHORTEST_RUN = 8
_LONGEST_RUN = 1000
_LARGEST_RUN_SET = 100
_MOST_TEXTS = 64
_LARGEST_CLASS = 4
_MOST_REPEATS = 8

# Escapes that mean the same to both; \< and \> are boundaries to one and characters to the other.
_ESCAPE = re.compile(r"\\(?:[wWsSdDbBnrtfa]|x[0-9A-Fa-f]{2}|[!-/:;=?@\[-`{-~])")
_WORD = frozenset(f"{string.ascii_letters}{string.digits}_".encode())
_CLASSES = {
    sre.CATEGORY_DIGIT: frozenset(string.digits.encode()),
    sre.CATEGORY_WORD: _WORD,
    sre.CATEGORY_SPACE: frozenset(b" \t\n\r\f\v"),
}
_COMPLEMENTS = {
    sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
    sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
}
_ALL_BYTES = frozenset(range(256))

_Parsed = Sequence[tuple[Any, Any]]


def need_of_regex(pattern: str) -> Need:
    """The need of a pattern, in whatever case it is matched; nothing if it cannot be told."""
    if not _is_read_alike(pattern):
        return AllOf()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = _parser.parse(pattern.encode("ascii"), re.DOTALL)
    except (re.error, Warning, RecursionError, OverflowError, UnicodeEncodeError):
        return AllOf()
    return AllOf(*_Reader().needs(parsed))


def literal_need(texts: Iterable[str]) -> Need:
    """One of the texts occurs; nothing is needed if one of them is too short to tell anything, or not ASCII."""
    chosen = {text.lower() for text in texts}
    if all(len(text) >= FEWEST_CHARACTERS and text.isascii() for text in chosen):
        return AnyOf(*(Literal(text) for text in sorted(chosen)))
    return AllOf()


def _is_read_alike(pattern: str) -> bool:
    rest = _ESCAPE.sub("", pattern)
    if "\\" in rest or not pattern.isascii() or "(?" in rest.replace("(?:", ""):
        return False
    # Nested classes, their operators and named ones are Rust's alone.
    return not re.search(r"\[[^\]]*(?:\[|&&|--|~~)", rest) and not re.search(r"\{,|\{[^}]*\s", rest)


class _Reader:
    """Walks through a parsed pattern; ``texts`` are the ways in which what was read last may be spelt."""

    def __init__(self) -> None:
        self._texts = {""}
        self._needs: list[Need] = []

    def needs(self, parsed: _Parsed) -> list[Need]:
        for operation, argument in parsed:
            if operation is sre.AT:
                continue
            spelt = _spellings(operation, argument)
            if spelt is not None and len(spelt) * len(self._texts) <= _MOST_TEXTS:
                self._texts = {before + after for before, after in product(self._texts, spelt)}
            else:
                self._finish()
                self._needs.extend(_need_of_part(operation, argument))
                # What has several spellings, and too many with those before it, begins anew.
                self._texts = spelt if spelt is not None else {""}
        self._finish()
        return self._needs

    def _finish(self) -> None:
        self._needs.append(literal_need(self._texts))
        self._texts = {""}


def _spellings(operation: Any, argument: Any) -> set[str] | None:
    """All texts that a part matches, if they are few."""
    if operation is sre.LITERAL:
        return {chr(argument)}
    if operation is sre.IN:
        values = _values(argument)
        return {chr(value) for value in values} if len(values) <= _LARGEST_CLASS else None
    if operation is sre.SUBPATTERN:
        return _spellings_of_all(argument[3])
    if operation is sre.BRANCH:
        return _spellings_of_one(argument[1])
    if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return _repeated(*argument)
    return None


def _spellings_of_one(branches: Iterable[_Parsed]) -> set[str] | None:
    texts: set[str] = set()
    for branch in branches:
        spelt = _spellings_of_all(branch)
        if spelt is None:
            return None
        texts |= spelt
    return texts if len(texts) <= _MOST_TEXTS else None


def _repeated(least: int, most: int, inner: _Parsed) -> set[str] | None:
    once = _spellings_of_all(inner) if most is not sre.MAXREPEAT and most <= _MOST_REPEATS else None
    if once is None:
        return None
    result: set[str] = set()
    for count in range(least, most + 1):
        if len(once) ** count > _MOST_TEXTS:
            return None
        result |= {"".join(texts) for texts in product(once, repeat=count)}
    return result if len(result) <= _MOST_TEXTS else None


def _spellings_of_all(parsed: _Parsed) -> set[str] | None:
    texts = {""}
    for operation, argument in parsed:
        spelt = {""} if operation is sre.AT else _spellings(operation, argument)
        if spelt is None or len(spelt) * len(texts) > _MOST_TEXTS:
            return None
        texts = {before + after for before, after in product(texts, spelt)}
    return texts


def _need_of_part(operation: Any, argument: Any) -> Iterator[Need]:
    if operation is sre.SUBPATTERN:
        yield from _Reader().needs(argument[3])
    elif operation is sre.BRANCH:
        yield AnyOf(*(AllOf(*_Reader().needs(branch)) for branch in argument[1]))
    elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, _, inner = argument
        if least:
            yield from _Reader().needs(inner)
            yield from _run(least, inner)


def _run(least: int, inner: _Parsed) -> Iterator[Need]:
    if least >= _SHORTEST_RUN and len(inner) == 1:
        operation, argument = inner[0]
        values = _values(argument) if operation is sre.IN else {argument} if operation is sre.LITERAL else _ALL_BYTES
        if len(values) <= _LARGEST_RUN_SET:
            yield Run(bytes(sorted(values)), min(least, _LONGEST_RUN))


def _values(items: _Parsed) -> frozenset[int]:
    values: set[int] = set()
    negated = False
    for operation, argument in items:
        if operation is sre.NEGATE:
            negated = True
        elif operation is sre.LITERAL:
            values.add(argument)
        elif operation is sre.RANGE:
            values.update(range(argument[0], argument[1] + 1))
        elif argument in _COMPLEMENTS:
            values |= _ALL_BYTES - _CLASSES[_COMPLEMENTS[argument]]
        else:
            values |= _CLASSES.get(argument, _ALL_BYTES)
    return _ALL_BYTES - values if negated else frozenset(values)
