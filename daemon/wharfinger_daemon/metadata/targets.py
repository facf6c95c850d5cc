"""Targets: paths with the length and hashes of their content (TUF specification 1.0.34, section 4.5).

A path is printable ASCII without quotes and backslashes. Clients disagree on the order of other characters in canonical
JSON, so that a bin with them could verify with one client and fail with another; and without anything to escape, every
path reads the same in the metadata, in a URL and in a log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wharfinger_daemon.errors import InvalidRequestError, Reason

MAX_PATH_LENGTH = 1024
MAX_LENGTH = 2**63 - 1

_HEX_DIGITS = {"sha256": 64, "sha512": 128, "blake2b-256": 64}
HASH_ALGORITHMS = tuple(_HEX_DIGITS)
# Every client has these two; not every one has BLAKE2.
_REQUIRED = frozenset({"sha256", "sha512"})
_LOWER_HEX = re.compile(r"[0-9a-f]+")
_PATH_CHARACTERS = re.compile(r"[ !#-\[\]-~]+")
_ODD_SEGMENT = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")


@dataclass(frozen=True)
class Target:
    """A target that clients will accept.

    Attributes:
        path: relative to the targets' base URL, without a hash prefix in the file name.
        length: of the content, in bytes.
        hashes: of the content, lower-case hexadecimal by algorithm.

    Raises:
        InvalidRequestError: TARGET_PATH_INVALID or TARGET_INVALID; ``details["path"]`` names the path.
    """

    path: str
    length: int
    hashes: Mapping[str, str]

    def __post_init__(self) -> None:
        require_target_path(self.path)
        if type(self.length) is not int or not 0 <= self.length <= MAX_LENGTH:
            raise _invalid(self.path, "its length must be a number of bytes from 0 to 2^63 - 1")
        if _REQUIRED.isdisjoint(self.hashes):
            raise _invalid(self.path, "it needs a sha256 or a sha512 hash")
        for algorithm, value in self.hashes.items():
            self._require_hash(algorithm, value)

    def _require_hash(self, algorithm: str, value: str) -> None:
        digits = _HEX_DIGITS.get(algorithm)
        if digits is None:
            known = ", ".join(_HEX_DIGITS)
            raise _invalid(self.path, f"its hashes may be {known}, and {ascii(algorithm)[:40]} is none of them")
        if len(value) != digits or not _LOWER_HEX.fullmatch(value):
            raise _invalid(self.path, f"its {algorithm} must be {digits} lower-case hexadecimal digits")


def require_target_path(path: str) -> None:
    """Refuses what is no target path.

    Raises:
        InvalidRequestError: TARGET_PATH_INVALID; ``details["path"]`` names the path, escaped and shortened.
    """
    why = _path_problem(path)
    if why is not None:
        shown = ascii(path)[1:-1][:200]
        raise InvalidRequestError(
            f"'{shown}' cannot be a target path: {why}.", reason=Reason.TARGET_PATH_INVALID, path=shown
        )


def _path_problem(path: str) -> str | None:
    if not path:
        return "it is empty"
    if len(path) > MAX_PATH_LENGTH:
        return f"it is longer than {MAX_PATH_LENGTH} characters"
    if not _PATH_CHARACTERS.fullmatch(path):
        return "only printable ASCII without quotation marks and backslashes is allowed"
    if path.startswith("/"):
        return "it must be relative"
    if _ODD_SEGMENT.search(path):
        return "it has an empty segment, '.' or '..'"
    return None


def _invalid(path: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"Target '{path}' is not valid: {why}.", reason=Reason.TARGET_INVALID, path=path)
