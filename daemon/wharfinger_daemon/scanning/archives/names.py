"""What a member's name gives away."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterator

_SEPARATORS = re.compile(r"[/\\]")
# Windows drops blanks and dots at the end of a name, and takes what follows a colon for a stream of the file.
_IGNORED_AT_END = re.compile(r"[. ]+(?=/|$)|:[^/]*$")
_DRIVE = re.compile(r"[A-Za-z]:")
_NAME_CHARACTERS = 1000

# What Python, pip or the build back ends act on because of the name alone.
_ACTED_ON = (".py", ".pyw", ".pth", ".pyc", ".so", ".pyd", ".toml", ".cfg")


def printable(name: str) -> str:
    """The name with all that cannot be printed, encoded or told apart escaped; at most 1,000 characters.

    >>> printable("a\\u202eb")
    'a\\\\u202eb'
    """
    if not (name.isprintable() and len(name) <= _NAME_CHARACTERS):
        name = "".join(_shown(character) for character in name[:_NAME_CHARACTERS])
        name = name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "…"
    return name


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def oddities(name: str) -> Iterator[tuple[str, str]]:
    """Rules and messages for a name that leads out of where the archive is unpacked, or that tools read differently.

    Backslashes and drive letters count, because the archive may be unpacked on Windows.
    """
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        yield "absolute-path", "The member's name is an absolute path."
    if "\0" in name:
        yield "ambiguous-name", "The member's name holds a NUL, at which some tools end it."
    if ".." in _SEPARATORS.split(name):
        yield "path-traversal", "The member's name leads out of the directory where it is unpacked."


def leads_outside(target: str, directory: str) -> bool:
    """Whether a link target, relative to the directory, is outside the archive's root."""
    if target.startswith(("/", "\\")) or _DRIVE.match(target):
        return True
    resolved = posixpath.normpath(posixpath.join(directory, target.replace("\\", "/")))
    return resolved == ".." or resolved.startswith("../")


def disguises(name: str, target: str) -> bool:
    """Whether a link gives content a name that is acted on, which the content's own name is not."""
    suffix = posixpath.splitext(name)[1].lower()
    return suffix in _ACTED_ON and suffix != posixpath.splitext(target)[1].lower()


def plain(name: str) -> str:
    """The name under which the member would be unpacked, for finding two members that would overwrite each other."""
    return posixpath.normpath(name).lstrip("/")


class SeenNames:
    """Tells of each name whether an earlier member would be overwritten."""

    def __init__(self) -> None:
        self._plain: set[str] = set()
        self._folded: set[str] = set()

    def collision(self, name: str) -> tuple[str, str] | None:
        """A rule and a message, if one before it unpacks to the same path, or would on other file systems."""
        own = plain(name)
        folded = _folded(own)
        if own in self._plain:
            found = ("duplicate-member", "Another member has the same name; tools differ in which one wins.")
        elif folded in self._folded:
            found = ("colliding-names", "On Windows or macOS the member takes the place of another one.")
        else:
            found = None
        self._plain.add(own)
        self._folded.add(folded)
        return found


def _folded(name: str) -> str:
    """The name as file systems take it that do not tell cases, compositions of letters, or trailing dots apart."""
    folded = name.replace("\\", "/").lower()
    if not folded.isascii():
        folded = unicodedata.normalize("NFC", folded.casefold())
    return _IGNORED_AT_END.sub("", folded)
