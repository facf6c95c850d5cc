"""What a member's name gives away."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

_SEPARATORS = re.compile(r"[/\\]")
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
    """Rules and messages for a name that would lead out of the directory where the archive is unpacked.

    Backslashes and drive letters count, because the archive may be unpacked on Windows.
    """
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        yield "absolute-path", "The member's name is an absolute path."
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
