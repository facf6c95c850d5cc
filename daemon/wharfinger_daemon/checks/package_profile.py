"""The check ``package-profile``: what the package says of itself, against what it holds.

Rules:

- ``imitated-name``: the name is one slip of the pen away from one of the 1,000 names that are downloaded most,
  and not itself among the 5,000
- ``inflated-version``: a version such as 99.0.0, as dependency confusion needs it to win against a private package
- ``bare-metadata``: no description, no link, no classifier, and little code
- ``bare-install-hook``: a setup.py puts a class of its own into the installation, and nothing says what for
- ``lone-setup``: a setup.py, and next to no other code
- ``executed-data-file``: Python executes the content of a file of the package that is not Python, such as a ``.txt``

It must be shown every member, since it counts code; of those it reads metadata, ``setup.py``, and modules that contain
the literal ``exec``. It parses none of them as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from importlib.resources import files

from wharfinger_daemon.scanning.plugin import Evidence, FileCheck, Member, ScanContext

_METADATA_BYTES = 1 << 20
_LITTLE_CODE_BYTES = 10_000
_NEXT_TO_NO_CODE_BYTES = 300
_FEWEST_DESCRIBING_CHARACTERS = 30
_SHORTEST_IMITATED_NAME = 5
_GUARDED_NAMES = 1000
_INFLATED_MAJOR = 90
_CALENDAR_MAJORS = range(1990, 2100)

_METADATA = re.compile(r"(?:[^/]+/)?PKG-INFO|[^/]+\.dist-info/METADATA|EGG-INFO/PKG-INFO")
_SETUP = re.compile(r"(?:[^/]+/)?setup\.py")
_INSTALL_HOOK = re.compile(r"\bcmdclass\s*=\s*(?:dict\s*\(|\{)")
_EXECUTED_FILE = re.compile(
    r"\bexec\s*\(\s*(?:compile\s*\(\s*)?(?:codecs\.|io\.)?open\s*\(([^\n]{1,300}?)\)\s*\.\s*read\s*\("
)
_QUOTED = re.compile(r"[\"']([^\"'\n]{1,80})[\"']")
_MODE_OR_ENCODING = re.compile(r"[rbtU+]{1,3}|utf.*|ascii|latin.*|iso-.*|cp\d+", re.IGNORECASE)
_DATA_FILE = re.compile(
    r"\.(?:txt|json|png|jpe?g|gif|ico|bmp|svg|dat|bin|md|log|csv|xml|ya?ml|ttf|css|db|pem|mp3|wav|pdf)$", re.IGNORECASE
)


class PackageProfileCheck(FileCheck):
    """Remembers of one artifact its metadata, its setup.py and how much Python it has."""

    name = "package-profile"
    version = "1"

    def __init__(self) -> None:
        self._popular = _Popular()

    def begin(self, context: ScanContext) -> None:
        super().begin(context)
        self._metadata: Message | None = None
        self._metadata_member = ""
        self._setup: Member | None = None
        self._other_code_bytes = 0

    def member(self, member: Member) -> Iterator[Evidence]:
        if _METADATA.fullmatch(member.name) and len(member.content) <= _METADATA_BYTES:
            self._metadata = HeaderParser().parsestr(member.text)
            self._metadata_member = member.name
        elif _SETUP.fullmatch(member.name):
            self._setup = member
        elif member.name.endswith((".py", ".pyw", ".so", ".pyd", ".pyx", ".c", ".cpp", ".rs")):
            self._other_code_bytes += len(member.content)
        if member.name.endswith((".py", ".pyw")) and b"exec" in member.content:
            yield from _executed_files(member)

    def end(self) -> Iterator[Evidence]:
        yield from self._of_name()
        if self._setup is not None and self._other_code_bytes < _NEXT_TO_NO_CODE_BYTES:
            message = "The package has a setup.py and next to no other code."
            yield Evidence("lone-setup", message, member=self._setup.name)
        metadata = self._metadata
        if metadata is None:
            return
        if _is_inflated(_field(metadata, "Version")):
            message = f"The version {_field(metadata, 'Version')[:20]} outbids whatever a private index may have."
            yield Evidence("inflated-version", message, member=self._metadata_member, excerpt="")
        if _describes(metadata) or _links(metadata):
            return
        if not metadata.get_all("Classifier") and self._code_bytes() <= _LITTLE_CODE_BYTES:
            message = "The package has no description, no link, no classifier and little code."
            yield Evidence("bare-metadata", message, member=self._metadata_member, excerpt="")
        if self._setup is not None and _INSTALL_HOOK.search(self._setup.text):
            message = "A package without description and links puts a class of its own into its installation."
            yield Evidence("bare-install-hook", message, member=self._setup.name, excerpt="")

    def _code_bytes(self) -> int:
        return self._other_code_bytes + (0 if self._setup is None else len(self._setup.content))

    def _of_name(self) -> Iterator[Evidence]:
        imitated = self._popular.imitated_by(self.context.subject.project)
        if imitated is not None:
            message = f"The project's name is almost that of '{imitated}', which is widely used."
            yield Evidence("imitated-name", message, member="", excerpt=self.context.subject.project)


class _Popular:
    """The names that are downloaded most, by what is left of them when one character is dropped."""

    def __init__(self) -> None:
        text = (files("wharfinger_daemon.checks") / "data" / "popular_names.txt").read_text(encoding="utf-8")
        # Sorted by downloads.
        self._names = {_letters(name): name for name in text.split()}
        self._shortened: dict[str, set[str]] = {}
        guarded = list(self._names)[:_GUARDED_NAMES]
        self._guarded = frozenset(name for name in guarded if len(name) >= _SHORTEST_IMITATED_NAME)
        for name in self._guarded:
            for short in _one_less(name):
                self._shortened.setdefault(short, set()).add(name)

    def imitated_by(self, project: str) -> str | None:
        """The name that differs from it by one character added, left out or exchanged, or by two that are swapped."""
        letters = _letters(project)
        if letters in self._names or len(letters) < _SHORTEST_IMITATED_NAME:
            return None
        near = {name for short in (letters, *_one_less(letters)) for name in self._near(short, letters)}
        close = sorted(name for name in near if _is_one_slip(letters, name))
        return self._names[close[0]] if close else None

    def _near(self, short: str, letters: str) -> set[str]:
        found = self._shortened.get(short, set())
        return found | ({short} if short in self._guarded and short != letters else set())


def _letters(name: str) -> str:
    """What remains of a name without separators, which PyPI's own rules treat alike."""
    return re.sub(r"[-_.]+", "", name).lower()


def _one_less(name: str) -> set[str]:
    return {name[:index] + name[index + 1 :] for index in range(len(name))}


def _is_one_slip(left: str, right: str) -> bool:
    """Damerau and Levenshtein's distance of the two is 1."""
    if abs(len(left) - len(right)) > 1:
        return False
    start = next((i for i, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), None)
    if start is None:
        return len(left) != len(right)
    if len(left) != len(right):
        longer, shorter = (left, right) if len(left) > len(right) else (right, left)
        return longer[start + 1 :] == shorter[start:]
    swapped = left[start : start + 2] == right[start : start + 2][::-1] and left[start + 2 :] == right[start + 2 :]
    return swapped or left[start + 1 :] == right[start + 1 :]


def _field(metadata: Message, name: str) -> str:
    value = str(metadata.get(name, "")).strip()
    return "" if value == "UNKNOWN" else value


def _describes(metadata: Message) -> bool:
    body = str(metadata.get_payload() or "")
    described = max(len(body.strip()), len(_field(metadata, "Description")))
    return described >= _FEWEST_DESCRIBING_CHARACTERS


def _links(metadata: Message) -> bool:
    return bool(metadata.get_all("Project-URL")) or _field(metadata, "Home-page").startswith("http")


def _is_inflated(version: str) -> bool:
    major = re.match(r"(?:\d+!)?(\d{1,12})(?=\.|$)", version)
    if major is None:
        return False
    number = int(major[1])
    is_date = number in _CALENDAR_MAJORS or (int(major[1][:4]) in _CALENDAR_MAJORS and len(major[1]) in (6, 8))
    return number >= _INFLATED_MAJOR and not is_date


def _executed_files(member: Member) -> Iterator[Evidence]:
    for found in _EXECUTED_FILE.finditer(member.text):
        names = [name for name in _QUOTED.findall(found[1]) if not _MODE_OR_ENCODING.fullmatch(name)]
        if names and _DATA_FILE.search(names[-1]):
            line = member.text.count("\n", 0, found.start()) + 1
            yield Evidence("executed-data-file", "The content of a file that is not Python is executed.", line=line)
