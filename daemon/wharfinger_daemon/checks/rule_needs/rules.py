"""What a text must contain before any rule of a pack can match.

Grammar of conditions, as far as it is understood: ``and``, ``or``, brackets, ``$a``, ``#a > 1``, ``any of them``,
``all of ($a*)``, ``2 of ($a, $b)``. Anything else may be true of every text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wharfinger_daemon.checks.rule_needs.regexes import literal_need, need_of_regex
from wharfinger_daemon.checks.rule_needs.tokens import NotUnderstoodError, Token, tokens_of
from wharfinger_daemon.scanning.plugin import AllOf, AnyOf, Need

_ANYTHING: Need = AllOf()
_END = Token("end", "")
# With these a text does not stand in the file as it stands in the rule.
_DISGUISES = frozenset({"wide", "xor", "base64", "base64wide"})
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)")


def need_of_rules(sources: Iterable[str], names: Sequence[str]) -> Need:
    """The need of a whole pack: what must be there before one of its rules can match and is reported.

    Private rules are never reported; where others refer to them, that may be true of every text.

    Args:
        names: of all rules in the pack, as the compiler knows them. If others are read here, nothing is needed.
    """
    rules: list[_Rule] = []
    try:
        for source in sources:
            rules += _Parser(list(tokens_of(source))).rules()
    except (NotUnderstoodError, RecursionError):
        return _ANYTHING
    if sorted(names) != sorted(rule.name for rule in rules):
        return _ANYTHING
    return AnyOf(*(rule.need for rule in rules if not rule.is_private))


@dataclass(frozen=True)
class _Rule:
    name: str
    need: Need
    is_private: bool


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._patterns: Mapping[str, Need] = {}

    def rules(self) -> list[_Rule]:
        found = []
        while self._now is not _END:
            if self._now.text in ("import", "include"):
                self._next()
                self._next()
            else:
                found.append(self._rule())
        return found

    def _rule(self) -> _Rule:
        is_private = False
        while self._now.text in ("private", "global"):
            is_private = self._next().text == "private" or is_private
        self._expect("rule")
        name = self._next().text
        while self._now.text != "{":
            self._skip_one()
        self._expect("{")
        self._patterns = {}
        if self._now.text == "meta":
            while self._now.text not in ("strings", "condition"):
                self._skip_one()
        if self._now.text == "strings":
            self._next()
            self._expect(":")
            self._patterns = self._strings()
        self._expect("condition")
        self._expect(":")
        need = self._any()
        self._expect("}")
        return _Rule(name, need, is_private)

    # ---- Patterns

    def _strings(self) -> dict[str, Need]:
        found: dict[str, Need] = {}
        while self._now.kind == "pattern":
            name = self._next().text
            self._expect("=")
            value = self._next()
            if value.text == "{":
                while self._next().text != "}":
                    self._refuse_end()
            found[name if name != "$" else f"${len(found)} unnamed"] = self._modified(value)
        return found

    def _modified(self, value: Token) -> Need:
        modifiers = set()
        while self._now.kind in ("word", "sign") and self._now.text not in ("condition", "}"):
            modifiers.add(self._now.text)
            self._skip_group() if self._now.text == "(" else self._next()
        if modifiers & _DISGUISES or value.text == "{":
            return _ANYTHING
        if value.kind == "regex":
            return need_of_regex(value.text[1:].rpartition("/")[0])
        if value.kind != "text":
            raise NotUnderstoodError(value.text)
        return literal_need([_unescaped(value.text[1:-1])])

    # ---- Conditions

    def _any(self) -> Need:
        needs = [self._all()]
        while self._now.text == "or":
            self._next()
            needs.append(self._all())
        return AnyOf(*needs)

    def _all(self) -> Need:
        needs = [self._term()]
        while self._now.text == "and":
            self._next()
            needs.append(self._term())
        return AllOf(*needs)

    def _term(self) -> Need:
        if self._now.text == "(":
            start = self._at
            self._next()
            need = self._any()
            self._expect(")")
            if self._ends_term():
                return need
            self._at = start
        elif self._now.kind == "pattern":
            return self._of_pattern()
        elif self._now.text in ("any", "all") or self._now.kind == "number":
            need = self._of_group()
            if self._ends_term():
                return need
        while not self._ends_term():
            self._skip_one()
        return _ANYTHING

    def _of_pattern(self) -> Need:
        token = self._next()
        need = self._named(token.text[1:]) if token.text[0] in "$#" else _ANYTHING
        if token.text[0] == "#":
            need = need if self._asks_for_some() else _ANYTHING
        elif not self._ends_term() and self._now.text not in ("at", "in"):
            need = _ANYTHING
        while not self._ends_term():
            self._skip_one()
        return need

    def _asks_for_some(self) -> bool:
        """Whether a comparison with a number follows that no text without the pattern passes, and nothing else."""
        sign, number, behind = (self._ahead(offset) for offset in range(3))
        if not number.text.isdecimal() or behind.text not in ("and", "or", ")", "}"):
            return False
        return (sign.text == ">") or (sign.text in (">=", "==") and int(number.text) > 0)

    def _of_group(self) -> Need:
        quantity = self._next().text
        some = quantity in ("any", "all") or (quantity.isdecimal() and int(quantity) > 0)
        if self._now.text != "of" or not some:
            return _ANYTHING
        self._next()
        needs = self._group()
        if needs is None:
            return _ANYTHING
        return AllOf(*needs) if quantity == "all" else AnyOf(*needs)

    def _group(self) -> list[Need] | None:
        if self._now.text == "them":
            self._next()
            return list(self._patterns.values())
        if self._now.text != "(":
            return None
        self._next()
        needs: list[Need] = []
        while self._now.text != ")":
            token = self._next()
            if token.kind == "pattern" and token.text[0] == "$":
                needs += self._matching(token.text)
            elif token.text != ",":
                return None  # a set of rules, or of expressions
        self._next()
        return needs

    def _matching(self, name: str) -> list[Need]:
        if name.endswith("*"):
            return [need for known, need in self._patterns.items() if known.startswith(name[:-1])]
        return [self._named(name[1:])]

    def _named(self, name: str) -> Need:
        return self._patterns.get(f"${name}", _ANYTHING)

    # ---- Tokens

    @property
    def _now(self) -> Token:
        return self._ahead(0)

    def _ahead(self, offset: int) -> Token:
        return self._tokens[self._at + offset] if self._at + offset < len(self._tokens) else _END

    def _next(self) -> Token:
        self._refuse_end()
        self._at += 1
        return self._tokens[self._at - 1]

    def _refuse_end(self) -> None:
        if self._now is _END:
            raise NotUnderstoodError("the source ends too early")

    def _expect(self, text: str) -> None:
        if self._next().text != text:
            raise NotUnderstoodError(f"no {text}")

    def _ends_term(self) -> bool:
        return self._now.text in ("and", "or", ")", "}") and self._now.kind in ("word", "sign")

    def _skip_one(self) -> None:
        self._skip_group() if self._now.text in ("(", "[") else self._next()

    def _skip_group(self) -> None:
        closing = {"(": ")", "[": "]"}[self._next().text]
        while self._now.text != closing:
            self._skip_one()
        self._next()


def _unescaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        code = found.group(1)
        if code.startswith("x") and len(code) == 3:
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            raise NotUnderstoodError(f"the escape \\{code}")
        return _ESCAPES[code]

    return _ESCAPE.sub(character, text)
