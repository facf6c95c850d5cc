"""One pass over all bytes of a member that decides which checks could find anything in it.

Vectorscan looks for the literals and words of all checks at once, faster than inflating fills the memory. Each is
reported once a member, so that content cannot make it expensive. Runs cost more, and are looked for only where
everything else of a need is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import hyperscan

from wharfinger_daemon.scanning.needs import ALWAYS, NEVER, AllOf, AnyOf, Atom, Need, Run

_FLAGS = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH
# Members have few combinations of atoms; what is beyond this many is computed anew.
_REMEMBERED = 4096
_SAMPLES_OF_A_RUN = 10


class _Search:
    """Finds which of several atoms occur."""

    def __init__(self, atoms: Sequence[Atom]) -> None:
        self._atoms = tuple(atoms)
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        expressions = [atom.expression.encode("ascii") for atom in atoms]
        self._database.compile(
            expressions=expressions, ids=list(range(len(expressions))), flags=[_FLAGS] * len(expressions)
        )
        self._scratch = hyperscan.Scratch(self._database)

    def numbers(self, content: bytes) -> frozenset[int]:
        """The places of those that occur, in the order of the constructor's argument."""
        numbers: set[int] = set()

        def on_match(number: int, start: int, end: int, flags: int, context: object) -> None:
            numbers.add(number)

        self._database.scan(content, match_event_handler=on_match, scratch=self._scratch)
        return frozenset(numbers)


class _RunSearch:
    """Finds one run: a long one first in every n-th byte, where it must show if there is any, then in all."""

    def __init__(self, run: Run) -> None:
        self._stride = max(run.length // _SAMPLES_OF_A_RUN, 1)
        self._sampled: re.Pattern[bytes] | None = None
        if self._stride > 1:
            self._sampled = self._pattern_of_samples(run)
        self._exact = _Search([run])

    def _pattern_of_samples(self, run: Run) -> re.Pattern[bytes]:
        either_case = run.values.lower() + run.values.upper()
        sampled = Run(either_case, run.length // self._stride)
        # Without the flag for letters in either case, which makes ``re`` slow.
        return re.compile(sampled.expression.encode("ascii"))

    def occurs(self, content: bytes) -> bool:
        if self._sampled is not None and self._sampled.search(content[:: self._stride]) is None:
            return False
        return bool(self._exact.numbers(content))


class _Occurring:
    """The atoms of one member; runs are looked for when they are asked for."""

    def __init__(self, known: frozenset[Atom], content: bytes, runs: dict[Run, _RunSearch]) -> None:
        self._known = known
        self._content = content
        self._runs = runs
        self._answers: dict[Run, bool] = {}

    def __contains__(self, atom: object) -> bool:
        if not isinstance(atom, Run):
            return atom in self._known
        if atom not in self._answers:
            self._answers[atom] = self._runs[atom].occurs(self._content)
        return self._answers[atom]


class Prepass:
    """Made once for a set of needs; compiles their atoms.

    Args:
        needs: one for each check; None for a check that is shown everything.
    """

    def __init__(self, needs: Sequence[Need | None]) -> None:
        self._needs = tuple(needs)
        atoms = list(dict.fromkeys(atom for need in needs if need for atom in need.atoms()))
        self._runs = {atom: _RunSearch(atom) for atom in atoms if isinstance(atom, Run)}
        self._atoms: list[Atom] = [atom for atom in atoms if not isinstance(atom, Run)]
        self._search = _Search(self._atoms) if self._atoms else None
        # What is left to be decided, by the atoms that occur.
        self._left: dict[frozenset[int], tuple[frozenset[Atom], tuple[Need, ...]]] = {}

    def wanted(self, content: bytes) -> tuple[bool, ...]:
        """Whether each need holds, in order; a check without a need wants everything."""
        numbers = self._search.numbers(content) if self._search else frozenset()
        left = self._left.get(numbers)
        if left is None:
            left = self._left_by(numbers)
            if len(self._left) < _REMEMBERED:
                self._left[numbers] = left
        known, needs = left
        occurring = _Occurring(known, content, self._runs)
        return tuple(need.holds(occurring) for need in needs)

    def _left_by(self, numbers: frozenset[int]) -> tuple[frozenset[Atom], tuple[Need, ...]]:
        least: frozenset[Atom] = frozenset(self._atoms[number] for number in numbers)
        most = least | self._runs.keys()
        return least, tuple(ALWAYS if need is None else _simplified(need, least, most) for need in self._needs)


def _simplified(need: Need, least: frozenset[Atom], most: frozenset[Atom]) -> Need:
    """An equal need for contents in which at least the ones and at most the others occur."""
    if need.holds(least):
        return ALWAYS
    if not need.holds(most):
        return NEVER
    parts = [_simplified(part, least, most) for part in getattr(need, "needs", ())]
    if isinstance(need, AllOf):
        return AllOf(*(part for part in parts if part is not ALWAYS))
    if isinstance(need, AnyOf):
        return AnyOf(*(part for part in parts if part is not NEVER))
    return need
