"""What a request's headers ask for: an encoding, and whether the client's copy is still the right one."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
_GZIP = ("gzip", "x-gzip")


def prefers_gzip(accept_encoding: str | None) -> bool:
    """Whether to send gzip (RFC 9110, 12.5.3): it is accepted, and the content as it is, is not liked better.

    Without the header, and where it makes no sense, content is sent as it is: every client can read that. So it is for
    one that accepts nothing that we have, which the RFC allows too.
    """
    weights = _weights(accept_encoding or "")
    other = weights.get("*", 0.0)
    gzip = max((weights[name] for name in _GZIP if name in weights), default=other)
    # What is not named is acceptable, but less than what is.
    identity = weights.get("identity", 0.0)
    return gzip > 0 and gzip >= identity


def _weights(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name:
            found[name.lower()] = _weight(parameters)
    return found


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        match = _WEIGHT.fullmatch(parameter)
        if match is None:
            return 0.0  # Nobody knows what it means: better not.
        return float(match[1])
    return 1.0


def has_copy(if_none_match: Iterable[str], etag: str) -> bool:
    """Whether the client has what it would get. Weak comparison, as RFC 9110, 13.1.2 wants it for If-None-Match.

    Args:
        if_none_match: the values of all such headers.
        etag: with its quotation marks; it has no comma.
    """
    held = [value.strip().removeprefix("W/") for header in if_none_match for value in header.split(",")]
    return "*" in held or etag in held
