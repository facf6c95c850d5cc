"""One pass over all bytes of a member that decides which checks could find anything in it.

Vectorscan looks for the atoms of all checks at once, faster than memory is filled by inflating. Each atom is reported
once a member, so that content cannot make it expensive.
"""

from __future__ import annotations

from collections.abc import Sequence

import hyperscan

from wharfinger_daemon.scanning.needs import Atom, Need

_FLAGS = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH
# Members have few combinations of atoms; what is beyond this many is computed anew.
_REMEMBERED = 4096


class Prepass:
    """Made once for a set of needs; compiles their atoms.

    Args:
        needs: one for each check; None for a check that is shown everything.

    Raises:
        ValueError: an atom cannot be compiled.
    """

    def __init__(self, needs: Sequence[Need | None]) -> None:
        self._needs = tuple(needs)
        self._atoms: list[Atom] = list(dict.fromkeys(atom for need in needs if need for atom in need.atoms()))
        self._verdicts: dict[frozenset[int], tuple[bool, ...]] = {}
        self._database: hyperscan.Database | None = None
        self._scratch: hyperscan.Scratch | None = None
        if self._atoms:
            self._compile()

    def _compile(self) -> None:
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        expressions = [atom.expression.encode("ascii") for atom in self._atoms]
        try:
            self._database.compile(
                expressions=expressions, ids=list(range(len(expressions))), flags=[_FLAGS] * len(expressions)
            )
        except hyperscan.HyperscanError as error:
            raise ValueError(f"What the checks need cannot be compiled: {error}") from error
        self._scratch = hyperscan.Scratch(self._database)

    def found(self, content: bytes) -> frozenset[Atom]:
        """The atoms that occur in the content."""
        return frozenset(self._atoms[number] for number in self._occurring(content))

    def wanted(self, content: bytes) -> tuple[bool, ...]:
        """Whether each need holds, in order; a check without a need wants everything."""
        occurring = self._occurring(content)
        verdict = self._verdicts.get(occurring)
        if verdict is None:
            found = frozenset(self._atoms[number] for number in occurring)
            verdict = tuple(need is None or need.holds(found) for need in self._needs)
            if len(self._verdicts) < _REMEMBERED:
                self._verdicts[occurring] = verdict
        return verdict

    def _occurring(self, content: bytes) -> frozenset[int]:
        numbers: set[int] = set()
        if self._database is not None:

            def on_match(number: int, start: int, end: int, flags: int, context: object) -> None:
                numbers.add(number)

            self._database.scan(content, match_event_handler=on_match, scratch=self._scratch)
        return frozenset(numbers)
