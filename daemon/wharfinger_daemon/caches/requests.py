"""One request to a cache, with a limit to how long it takes and how much of the answer is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError

from wharfinger_daemon.errors import Reason, UnavailableError

_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True)
class CacheRequest:
    """What to ask. ``headers`` may hold secrets: they are never in a message."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


async def ask(cache: str, request: CacheRequest, *, timeout_seconds: float) -> bytes:
    """Sends a request, on a connection of its own, and returns the beginning of the answer to it.

    Args:
        cache: how messages call the cache.

    Raises:
        UnavailableError: CACHE_NOT_PURGED; nobody answered in time, or the answer is not 200.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            status, answer = await asyncio.to_thread(_send, request, timeout_seconds)
    except (HTTPError, OSError, TimeoutError) as error:
        # Not the message of the library, which names the address in its own words.
        raise not_purged(f"{cache} does not answer ({type(error).__name__})") from error
    if status != 200:
        raise not_purged(f"{cache} answered {status}")
    return answer


def not_purged(why: str) -> UnavailableError:
    """The error for a cache that may still have what is not current any more."""
    return UnavailableError(
        f"{why}, and was not purged: its clients see what is new when the life of what it keeps is over. Look at the "
        "cache and at [caches] in the configuration.",
        reason=Reason.CACHE_NOT_PURGED,
    )


def _send(request: CacheRequest, timeout_seconds: float) -> tuple[int, bytes]:
    with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=timeout_seconds)) as pool:
        response = pool.request(
            request.method,
            request.url,
            headers=dict(request.headers),
            body=request.body,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            return response.status, response.read(_ANSWER_BYTES)
        finally:
            response.close()
