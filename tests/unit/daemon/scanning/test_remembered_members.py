"""What was found in a member is remembered, and found again wherever the member stands."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest

from wharfinger_daemon.scanning.deadline import WatchedDeadline
from wharfinger_daemon.scanning.engine import Engine, EngineLimits
from wharfinger_daemon.scanning.model import Finding, Subject, SubjectKind
from wharfinger_daemon.scanning.plugin import Evidence, FileCheck, Member
from wharfinger_daemon.scanning.remembered import Remembered


class _Counting(FileCheck):
    name = "counting"
    version = "1"
    repeatable = True

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.fails = False

    def member(self, member: Member) -> Iterator[Evidence]:
        self.seen.append(member.name)
        yield Evidence("saw", "It was seen.", line=1)
        if self.fails:
            raise ValueError("broken")


class _Forgetful(_Counting):
    repeatable = False


def _examined(engine: Engine, **members: bytes) -> tuple[Finding, ...]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    subject = Subject(SubjectKind.FILE, "p", "1", "p-1.tar.gz")
    return engine.examine(io.BytesIO(buffer.getvalue()), subject).findings


def _engine(check: FileCheck) -> Engine:
    return Engine([check], EngineLimits(), WatchedDeadline())


def test_a_member_that_two_releases_share_is_examined_once() -> None:
    """The finding is the same, with its excerpt and with the name that the member has in this release."""
    check = _Counting()
    engine = _engine(check)
    first = _examined(engine, **{"p-1__a.py": b"text"})
    second = _examined(engine, **{"p-2.0rc1__a.py": b"text"})
    assert ["p-1/a.py"] == check.seen
    assert [("saw", "p-1/a.py", 1, "text")] == [(f.rule, f.member, f.line, f.excerpt) for f in first]
    assert [("saw", "p-2.0rc1/a.py", 1, "text")] == [(f.rule, f.member, f.line, f.excerpt) for f in second]


def test_another_name_or_another_content_is_examined() -> None:
    """A name decides whether a module runs when the package is installed."""
    check = _Counting()
    engine = _engine(check)
    _examined(engine, **{"p-1__a.py": b"text"})
    _examined(engine, **{"p-1__setup.py": b"text", "p-1__a.py": b"other", "a.py": b"text", "p__a.py": b"text"})
    assert ["p-1/a.py", "p-1/setup.py", "p-1/a.py", "a.py", "p/a.py"] == check.seen


def test_a_check_that_did_not_come_to_its_end_is_asked_again() -> None:
    check = _Counting()
    engine = _engine(check)
    check.fails = True
    _examined(engine, **{"p-1__a.py": b"text"})
    check.fails = False
    _examined(engine, **{"p-1__a.py": b"text"})
    assert 2 == len(check.seen)


def test_a_check_that_does_not_say_so_is_always_asked() -> None:
    check = _Forgetful()
    engine = _engine(check)
    for _ in range(2):
        _examined(engine, **{"p-1__a.py": b"text"})
    assert 2 == len(check.seen)


def test_what_is_remembered_is_bounded() -> None:
    """The oldest goes first; asking for it makes it young."""
    remembered = Remembered(entries=2)
    first, second, third = (Member("a", content) for content in (b"1", b"2", b"3"))
    remembered.keep(first, [])
    remembered.keep(second, [])
    assert () == remembered.recall(first)
    remembered.keep(third, [])
    assert 2 == len(remembered)
    assert ((), None, ()) == (remembered.recall(first), remembered.recall(second), remembered.recall(third))


@pytest.mark.parametrize(
    "other", ["p-1.zip!/a/setup.py", "p-1.data/a/setup.py", "p-1.dist-info/a/setup.py", "a/setup.py"]
)
def test_only_the_folder_of_an_sdist_is_left_out_of_the_name(other: str) -> None:
    """In an archive inside, the same path is another place."""
    remembered = Remembered()
    remembered.keep(Member("p-1/a/setup.py", b""), [])
    assert remembered.recall(Member("q-2/a/setup.py", b"")) is not None
    assert remembered.recall(Member(other, b"")) is None


def test_much_evidence_is_not_remembered() -> None:
    """A hostile member must not fill the memory that all share."""
    remembered = Remembered()
    remembered.keep(Member("a", b""), [Evidence("saw", "It was seen.")] * 21)
    remembered.keep(Member("a", b""), [Evidence("saw", "x" * 2001)])
    assert 0 == len(remembered)
