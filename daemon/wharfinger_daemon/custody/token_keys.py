"""The keys of the token, for the signing domain: ``TokenKeys`` on the supervisor of the HSM workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from wharfinger_daemon.errors import OverloadedError, Reason, RefusedError, UnavailableError
from wharfinger_daemon.signing.keys import TokenRequest
from wharfinger_hsm import errors as hsm
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.model import Digest, Message, SigningItem, TokenKey

_ITEMS_PER_BATCH = SupervisorLimits().items_per_request


class HsmWorkers(Protocol):
    """What is needed of ``wharfinger_hsm.group.TokenGroup``."""

    async def keys(self) -> list[TokenKey]:
        """All keys on the tokens."""
        ...

    async def sign(self, items: Sequence[SigningItem], *, timeout_seconds: float) -> list[bytes]:
        """A verified signature for each item, in order."""
        ...


class HsmKeys:
    """Implements ``TokenKeys``.

    Args:
        workers: the token.
        call_timeout_seconds: the longest time of one batch in a worker.

    Raises:
        UnavailableError: TOKEN_UNAVAILABLE; also for a key that the token does not find, which proves nothing: a token
            whose storage went away for a moment says the same. SIGNATURE_INVALID for a signature that does not verify.
        OverloadedError: too many calls wait for the token.
        RefusedError: the key on the token is of another kind than the metadata says.
    """

    def __init__(self, workers: HsmWorkers, call_timeout_seconds: float) -> None:
        self._workers = workers
        self._call_timeout_seconds = call_timeout_seconds
        self._takes_messages: frozenset[bytes] | None = None

    async def public_keys(self) -> frozenset[bytes]:
        with _errors_translated():
            return frozenset(key.public_key for key in await self._look())

    async def sign(self, requests: Sequence[TokenRequest], *, timeout_seconds: float) -> list[bytes]:
        with _errors_translated():
            if self._takes_messages is None:
                await self._look()
            items = [self._item(request) for request in requests]
            return await self._workers.sign(items, timeout_seconds=min(timeout_seconds, self._most(len(items))))

    async def _look(self) -> list[TokenKey]:
        keys = await self._workers.keys()
        self._takes_messages = frozenset(key.public_key for key in keys if key.takes_messages)
        return keys

    def _item(self, request: TokenRequest) -> SigningItem:
        whole = request.public_key in (self._takes_messages or ())
        payload = Message(request.message) if whole or request.digest is None else Digest(request.digest)
        return SigningItem(request.public_key, payload)

    def _most(self, items: int) -> float:
        # As if one worker had to do all batches: a worker that hangs is found out, however much time the caller gives.
        batches = -(-items // _ITEMS_PER_BATCH)
        return max(1, batches) * self._call_timeout_seconds


@contextmanager
def _errors_translated() -> Iterator[None]:
    # The messages of the token's side name modules and files of this host, so they stay in the log, as the cause.
    try:
        yield
    except hsm.OverloadedError as error:
        raise OverloadedError(
            "Too many requests wait for the token. Try again.", reason=Reason.TOO_MANY_CONCURRENT_REQUESTS
        ) from error
    except hsm.SignatureInvalidError as error:
        raise UnavailableError(
            "The token returned a signature that its public key does not verify. Nothing was given out. Retry; if it "
            "happens again, look at the token.",
            reason=Reason.SIGNATURE_INVALID,
        ) from error
    except hsm.UnsupportedItemError as error:
        raise RefusedError(
            "The token cannot use this key as the metadata demands. Compare the kind of the key on the token with its "
            "keytype and scheme in the metadata.",
            reason=Reason.KEY_NOT_HELD,
        ) from error
    except hsm.HsmError as error:
        raise UnavailableError(
            "The token does not answer as it should. Send the same request again; the daemon's log says what happened.",
            reason=Reason.TOKEN_UNAVAILABLE,
        ) from error
