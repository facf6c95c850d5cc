"""What checks need, and the one pass that decides it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_daemon.scanning.deadline import WatchedDeadline
from wharfinger_daemon.scanning.engine import Engine, EngineLimits
from wharfinger_daemon.scanning.model import Subject, SubjectKind
from wharfinger_daemon.scanning.needs import ALWAYS, NEVER, AllOf, AnyOf, Atom, Literal, Need, Run, Word, compiled
from wharfinger_daemon.scanning.plugin import Evidence, FileCheck, Member, need_of
from wharfinger_daemon.scanning.prepass import Prepass

_ATOMS: list[Atom] = [
    Literal("os.system("),
    Literal("a"),
    Literal("\\x^$[]{}"),
    Word("exec"),
    Word("_x1"),
    Run(b" \t", 5),
    Run(b"A", 2),
    Run(bytes(range(128, 256)), 1),
]
_PIECES = st.sampled_from(
    [
        b"exec",
        b"EXEC",
        b"_x1",
        b"_",
        b"os.system(",
        b"OS.System",
        b"(",
        b"\\x^$[]{}",
        b"  ",
        b"\t",
        b"aA",
        b"\xff",
        b"\n",
    ]
)


def _needs() -> st.SearchStrategy[Need]:
    atoms: st.SearchStrategy[Need] = st.sampled_from(_ATOMS)
    return st.recursive(
        atoms,
        lambda inner: st.lists(inner, max_size=3).flatmap(
            lambda parts: st.sampled_from([AllOf(*parts), AnyOf(*parts)])
        ),
        max_leaves=6,
    )


@given(st.lists(_PIECES | st.binary(max_size=3), max_size=30).map(b"".join))
def test_the_pass_finds_exactly_the_atoms_that_occur(content: bytes) -> None:
    """Vectorscan and Python's own regular expressions agree on every atom."""
    expected = tuple(compiled(atom).search(content) is not None for atom in _ATOMS)
    assert expected == Prepass(_ATOMS).wanted(content)


@given(st.lists(_needs() | st.none(), max_size=4), st.lists(_PIECES, max_size=10).map(b"".join))
def test_each_need_is_judged_by_what_occurs(needs: list[Need | None], content: bytes) -> None:
    """A check is shown a member if its need holds, or if it states none."""
    found = {atom for atom in _ATOMS if compiled(atom).search(content)}
    prepass = Prepass(needs)
    expected = tuple(need is None or need.holds(found) for need in needs)
    assert expected == prepass.wanted(content)
    assert expected == prepass.wanted(content)


@given(_needs(), st.sets(st.sampled_from(_ATOMS)), st.sets(st.sampled_from(_ATOMS)))
def test_more_content_never_makes_a_need_fail(need: Need, some: set[Atom], more: set[Atom]) -> None:
    """Nothing can be added to a member so that a check is no longer shown it."""
    assert not need.holds(some) or need.holds(some | more)


def test_the_empty_formulas() -> None:
    """All of nothing is always there, any of nothing never."""
    assert (True, False) == Prepass([ALWAYS, NEVER]).wanted(b"")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Literal(""),
        lambda: Literal("é"),
        lambda: Word("a-b"),
        lambda: Word("é"),
        lambda: Run(b"", 1),
        lambda: Run(b"a", 0),
        lambda: Run(b"a", 1001),
    ],
    ids=["empty", "not ascii", "no identifier", "no ascii identifier", "no values", "no length", "too long"],
)
def test_atoms_that_mean_nothing_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"is no|a run needs"):
        make()  # type: ignore[operator]


def test_a_long_run_is_found() -> None:
    """Code that stands off screen has more blanks before it than an editor shows columns."""
    prepass = Prepass([Run(b" \t", 1000)])
    assert ((True,), (False,)) == (prepass.wanted(b"x" + b" " * 1000), prepass.wanted(b"x" + b" " * 999))


class _Seeing(FileCheck):
    name = "seeing"
    version = "1"
    needs = Word("wanted")

    def member(self, member: Member) -> Iterator[Evidence]:
        yield Evidence("saw", member.name)


class _Blind(FileCheck):
    name = "blind"
    version = "1"


class _Greedy(_Seeing):
    name = "greedy"
    needs = None


def test_the_engine_shows_a_member_only_to_those_who_need_it() -> None:
    """A check that states no need sees all, as before there were needs."""
    engine = Engine([_Seeing(), _Greedy(), _Blind()], EngineLimits(), WatchedDeadline())
    for content, expected in ((b"wanted", ["seeing", "greedy"]), (b"other", ["greedy"])):
        found = engine.examine(io.BytesIO(content), Subject(SubjectKind.FILE, "a"))
        assert expected == [finding.check for finding in found.findings]


def test_a_check_that_looks_at_no_member_is_shown_none() -> None:
    """Those who only judge anomalies cost nothing for each member."""
    assert need_of(_Blind()) is NEVER
    assert need_of(_Greedy()) is None
