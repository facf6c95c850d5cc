"""What a member must contain before a check can find anything in it: the public language of ``Check.needs``.

A need is a monotone formula over atoms. One pass over a member's bytes decides all atoms of all checks, so that a check
that costs much is shown only members in which its need holds:

    needs = AnyOf(AllOf(Literal("discord"), Literal("webhook")), Word("exec"), Run(b" \\t", 150))

A need is a promise: where it does not hold, ``member`` would yield nothing. Where that cannot be promised, state none.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Literal:
    """These bytes occur; ASCII letters in either case.

    Raises:
        ValueError: the text is empty or not ASCII.
    """

    text: str

    def __post_init__(self) -> None:
        _require(bool(self.text) and self.text.isascii(), f"{self.text!r} is no ASCII text")

    @property
    def expression(self) -> str:
        """The atom as a regular expression over bytes, letters in either case."""
        return _by_number(self.text.encode("ascii"))

    def holds(self, found: Container[Atom]) -> bool:
        """As in ``Need``."""
        return self in found

    def atoms(self) -> Iterator[Atom]:
        """As in ``Need``."""
        yield self


@dataclass(frozen=True)
class Word:
    """This identifier occurs, with no letter, digit or underscore of ASCII beside it; letters in either case.

    Raises:
        ValueError: the text is no ASCII identifier.
    """

    text: str

    def __post_init__(self) -> None:
        _require(self.text.isascii() and self.text.isidentifier(), f"{self.text!r} is no ASCII identifier")

    @property
    def expression(self) -> str:
        """The atom as a regular expression over bytes, letters in either case."""
        return rf"\b{self.text}\b"

    def holds(self, found: Container[Atom]) -> bool:
        """As in ``Need``."""
        return self in found

    def atoms(self) -> Iterator[Atom]:
        """As in ``Need``."""
        yield self


_LONGEST_RUN = 1000


@dataclass(frozen=True)
class Run:
    """At least ``length`` bytes in a row are among ``values``; ASCII letters in either case.

    Raises:
        ValueError: there is no value, or the length is not from 1 to 1,000.
    """

    values: bytes
    length: int

    def __post_init__(self) -> None:
        _require(bool(self.values) and 0 < self.length <= _LONGEST_RUN, "a run needs values and a length up to 1000")

    @property
    def expression(self) -> str:
        """The atom as a regular expression over bytes, letters in either case."""
        return f"[{_by_number(self.values)}]{{{self.length}}}"

    def holds(self, found: Container[Atom]) -> bool:
        """As in ``Need``."""
        return self in found

    def atoms(self) -> Iterator[Atom]:
        """As in ``Need``."""
        yield self


Atom = Literal | Word | Run


class Need(Protocol):
    """A formula. More atoms never make it false."""

    def holds(self, found: Container[Atom]) -> bool:
        """Whether it holds for a member that contains exactly these of its atoms."""
        ...

    def atoms(self) -> Iterator[Atom]:
        """All atoms in it, some perhaps several times."""
        ...


class AllOf:
    """All of these hold; with none, it holds always."""

    def __init__(self, *needs: Need) -> None:
        self.needs = needs

    def holds(self, found: Container[Atom]) -> bool:
        """As in ``Need``."""
        return all(need.holds(found) for need in self.needs)

    def atoms(self) -> Iterator[Atom]:
        """As in ``Need``."""
        for need in self.needs:
            yield from need.atoms()


class AnyOf:
    """One of these holds; with none, it holds never."""

    def __init__(self, *needs: Need) -> None:
        self.needs = needs

    def holds(self, found: Container[Atom]) -> bool:
        """As in ``Need``."""
        return any(need.holds(found) for need in self.needs)

    def atoms(self) -> Iterator[Atom]:
        """As in ``Need``."""
        for need in self.needs:
            yield from need.atoms()


ALWAYS: Need = AllOf()
"""Nothing is needed: every member is shown."""
NEVER: Need = AnyOf()
"""No member is shown."""


def _by_number(values: bytes) -> str:
    # No dialect of regular expressions can take it for anything else.
    return "".join(f"\\x{value:02x}" for value in values)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def compiled(atom: Atom) -> re.Pattern[bytes]:
    """The atom for Python's ``re``: slow, and the yardstick for whatever is fast."""
    return re.compile(atom.expression.encode("ascii"), re.IGNORECASE)
