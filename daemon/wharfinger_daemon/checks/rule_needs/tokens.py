"""Cuts the source of YARA rules into tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<space>   \s+ | //[^\n]* | /\*.*?\*/ )
  | (?P<text>    "(?:[^"\\\n]|\\.)*" )
  | (?P<regex>   /(?:[^/\\\n\[]|\\.|\[\^?\]?(?:[^\]\\\n]|\\.)*\])+/[is]* )
  | (?P<pattern> [$\#@!]\w*\*? )
  | (?P<word>    [A-Za-z_]\w* )
  | (?P<number>  0x[0-9A-Fa-f]+ | \d+(?:\.\d+)?(?:KB|MB)? )
  | (?P<sign>    \.\. | [<>=!]= | << | >> | [^\w\s] )
    """,
    re.VERBOSE | re.DOTALL,
)


class NotUnderstoodError(Exception):
    """The source is not as this package knows the language."""


@dataclass(frozen=True)
class Token:
    """``kind`` is the name of a group above."""

    kind: str
    text: str


def tokens_of(source: str) -> Iterator[Token]:
    """The tokens, without space and comments.

    Raises:
        NotUnderstoodError: something is no token.
    """
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if found is None:
            raise NotUnderstoodError(f"no token at {at}")
        at = found.end()
        kind = found.lastgroup
        if kind != "space":
            assert kind is not None
            yield Token(kind, found.group())
