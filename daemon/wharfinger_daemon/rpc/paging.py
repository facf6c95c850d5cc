"""Pages of short lists that are held in memory (AIP-158)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from wharfinger_daemon.errors import InvalidRequestError, Reason

T = TypeVar("T")

_DEFAULT_SIZE = 100
_MOST = 1000


def page_of(items: Sequence[T], size: int, token: str) -> tuple[Sequence[T], str]:
    """The page that a token names, and the next token; that is empty at the end.

    Raises:
        InvalidRequestError: a negative size, or a token that this server did not give out.
    """
    if size < 0:
        raise InvalidRequestError("page_size must not be negative.", reason=Reason.MALFORMED_REQUEST)
    if token and not (token.isascii() and token.isdigit() and int(token) <= len(items)):
        raise InvalidRequestError(
            "This page token is not one that this server gave out. Start again without.",
            reason=Reason.PAGE_TOKEN_INVALID,
        )
    start = int(token or 0)
    end = start + min(size or _DEFAULT_SIZE, _MOST)
    return items[start:end], str(end) if end < len(items) else ""
