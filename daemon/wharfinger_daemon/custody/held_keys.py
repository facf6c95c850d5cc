"""Which keys the token holds and how they are labelled there: ``keys.administration.HeldKeys``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_hsm.errors import HsmError
from wharfinger_hsm.model import TokenKey


class ListsKeys(Protocol):
    """What is needed of ``wharfinger_hsm.group.TokenGroup``."""

    async def keys(self) -> list[TokenKey]:
        """All keys on the tokens."""
        ...


class TokenLabels:
    """Implements ``HeldKeys``.

    Args:
        tokens: which know the labels.
        refresh: has signing ask the token anew, as ``SigningService.refresh_held_keys`` does.
    """

    def __init__(self, tokens: ListsKeys, refresh: Callable[[], Awaitable[object]]) -> None:
        self._tokens = tokens
        self._refresh = refresh

    async def held(self) -> Mapping[bytes, str]:
        await self._refresh()
        try:
            return {key.public_key: key.label for key in await self._tokens.keys()}
        except HsmError as error:
            # What the token's side says names modules and files of this host: it stays in the log, as the cause.
            raise UnavailableError(
                "The token does not answer as it should. Try again; the daemon's log says what happened.",
                reason=Reason.TOKEN_UNAVAILABLE,
            ) from error
