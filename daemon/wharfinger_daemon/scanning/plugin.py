"""The public interface of checks. Built-in checks use it and nothing else.

A check is a class, found by the entry point group ``wharfinger.checks``, that states its name, version and subjects and
yields findings. It runs inside the scan sandbox: no network, no files, no processes, limits on memory and CPU. One
instance examines many artifacts, so ``begin`` must forget the one before.

    class UnfinishedCheck(FileCheck):
        name = "unfinished"
        version = "1"

        def member(self, member: Member) -> Iterator[Evidence]:
            for number, line in enumerate(member.lines, start=1):
                if "to be done" in line:
                    yield Evidence(rule="to-be-done", message="Somebody is not finished.", line=number)

A check that costs much states in ``needs`` what a member must contain before it can find anything there; it is shown
those members only. One that judges each member by itself says so with ``repeatable``. The findings are the same, only
sooner.

A check that raises, runs past its deadline or exhausts its memory loses only its own findings, and the part that it
did not see counts as unread: the verdict cannot be benign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Protocol, runtime_checkable

from wharfinger_daemon.scanning.model import Subject, SubjectKind
from wharfinger_daemon.scanning.needs import NEVER, AllOf, AnyOf, Literal, Need, Run, Word

__all__ = [
    "ENTRY_POINT_GROUP",
    "EXCERPT_CHARACTERS",
    "AllOf",
    "Anomaly",
    "AnyOf",
    "ArtifactFormat",
    "Check",
    "Evidence",
    "FileCheck",
    "Literal",
    "Member",
    "Need",
    "Run",
    "ScanContext",
    "Word",
    "excerpt",
    "need_of",
]

ENTRY_POINT_GROUP = "wharfinger.checks"
EXCERPT_CHARACTERS = 200


class ArtifactFormat(StrEnum):
    """What the artifact was opened as."""

    WHEEL = "wheel"
    SDIST = "sdist"
    ZIP = "zip"
    TAR = "tar"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Anomaly:
    """Something that is odd in the archive's structure itself.

    Attributes:
        rule: kebab case, such as ``path-traversal``; documented in docs/reference/checks.md.
        message: what it means, in words.
        member: the member's name as the archive has it, escaped; empty for the archive as a whole.
    """

    rule: str
    message: str
    member: str = ""


@dataclass(frozen=True)
class ScanContext:
    """What a check may know before the first member.

    Attributes:
        subject: what is scanned.
        format: what the artifact was opened as.
        size: length of the artifact, in bytes.
        member_names: names of all members of the outermost archive, in archive order.
    """

    subject: Subject
    format: ArtifactFormat
    size: int
    member_names: Sequence[str] = ()


@dataclass(frozen=True)
class Member:
    """One member of the artifact, whole, in memory.

    Attributes:
        name: path in the archive with nested archives joined by ``!/``, such as ``pkg-1.0/data.zip!/setup.py``.
        content: its bytes.
    """

    name: str
    content: bytes = field(repr=False)

    @cached_property
    def digest(self) -> bytes:
        """BLAKE2b of the content, 32 bytes."""
        return hashlib.blake2b(self.content, digest_size=32).digest()

    @cached_property
    def text(self) -> str:
        """The content decoded as UTF-8, undecodable bytes replaced, a byte order mark removed."""
        return self.content.decode("utf-8-sig", errors="replace")

    @cached_property
    def lines(self) -> list[str]:
        """``text`` split at line feeds, without them."""
        return self.text.split("\n")


@dataclass(frozen=True)
class Evidence:
    """What a check yields; the engine adds the check's name, its version, the member and the excerpt.

    Attributes:
        rule: kebab case; the rule of the check.
        message: what it means, in words.
        member: name of the member; the one being examined if None, the artifact as a whole if empty.
        line: line in the member, from 1; 0 where there is none.
        excerpt: the text that shows it; that line of the member if None.
    """

    rule: str
    message: str
    member: str | None = None
    line: int = 0
    excerpt: str | None = None


@runtime_checkable
class Check(Protocol):
    """What a check provides; beyond that it may state ``needs`` and ``repeatable``, as in ``FileCheck``."""

    name: str
    """Kebab case, unique."""
    version: str
    """Changes whenever the check could find something else in the same bytes."""
    subjects: frozenset[SubjectKind]
    """What it examines."""
    rule_texts: Sequence[bytes]
    """Rule files that it was made with; their content is part of the rule set's version. Often empty."""

    def begin(self, context: ScanContext) -> None:
        """A new artifact; forget the one before."""
        ...

    def anomalies(self, anomalies: Iterable[Anomaly]) -> Iterator[Evidence]:
        """Examines what the opener found odd in the structure; called once, after the last member, before ``end``."""
        ...

    def member(self, member: Member) -> Iterator[Evidence]:
        """Examines one member. Called for each member, nested ones too, in archive order."""
        ...

    def end(self) -> Iterator[Evidence]:
        """All members were seen; what can be said only now."""
        ...


class FileCheck:
    """A base for checks on files that need not override everything. Using it is optional."""

    name: str
    version: str
    subjects: frozenset[SubjectKind] = frozenset({SubjectKind.FILE})
    rule_texts: Sequence[bytes] = ()
    needs: Need | None = None
    """What a member must contain before ``member`` could yield anything; None to be shown every member."""
    repeatable: bool = False
    """Whether what ``member`` yields depends on the member's content and name alone, whatever the artifact and the
    members before it; the folder NAME-VERSION that is around an sdist may not matter either. What was found is then
    remembered, and ``member`` is not called again for members that releases share."""
    context: ScanContext

    def begin(self, context: ScanContext) -> None:
        """Remembers the context."""
        self.context = context

    def anomalies(self, anomalies: Iterable[Anomaly]) -> Iterator[Evidence]:
        """Finds nothing."""
        return iter(())

    def member(self, member: Member) -> Iterator[Evidence]:
        """Finds nothing."""
        return iter(())

    def end(self) -> Iterator[Evidence]:
        """Finds nothing."""
        return iter(())


def need_of(check: Check) -> Need | None:
    """What the check needs in a member: what it states, and never anything if it does not look at members at all."""
    if getattr(type(check), "member", None) is FileCheck.member:
        return NEVER
    needs: Need | None = getattr(check, "needs", None)
    return needs


def excerpt(text: str) -> str:
    """A text as findings carry it: one line, control characters escaped, at most ``EXCERPT_CHARACTERS`` characters.

    >>> excerpt("import os\\x1b[2J")
    'import os\\\\x1b[2J'
    """
    shown = "".join(character if character.isprintable() else _escaped(character) for character in text[:1000].strip())
    return shown if len(shown) <= EXCERPT_CHARACTERS else shown[: EXCERPT_CHARACTERS - 1] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
