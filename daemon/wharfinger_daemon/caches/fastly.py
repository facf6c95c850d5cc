"""Purges a Fastly service by surrogate keys (Fastly's API reference, "Purging", "Bulk purge by surrogate keys")."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wharfinger_daemon.caches.requests import CacheRequest, ask, not_purged

KEYS_AT_ONCE = 256
"""The most keys that Fastly takes in one request."""


@dataclass(frozen=True)
class FastlyService:
    """A service of Fastly.

    Attributes:
        service_id: as Fastly shows it.
        token_file: has an API token that may purge this service, and nothing else. It is read for every purge, so that
            it can be exchanged while the daemon runs.
        soft: mark as stale in place of dropping. What is stale is asked for again, with its ETag, before anybody gets
            it, as long as neither origin nor service say that stale answers may be given.
        api_url: the API's address, without a slash at its end.
        timeout_seconds: of one request.
    """

    service_id: str
    token_file: Path
    soft: bool = False
    api_url: str = "https://api.fastly.com"
    timeout_seconds: float = 5.0


class FastlyPurger:
    """A ``CachePurger`` for a service of Fastly."""

    def __init__(self, service: FastlyService) -> None:
        self._service = service

    @property
    def name(self) -> str:
        """``fastly``."""
        return "fastly"

    async def purge(self, keys: Sequence[str]) -> None:
        """Purges by keys, so many in a request as Fastly takes.

        Raises:
            UnavailableError: CACHE_NOT_PURGED; Fastly refused or does not answer, or the token cannot be read.
        """
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Fastly-Key": self._token(),
            **({"Fastly-Soft-Purge": "1"} if self._service.soft else {}),
        }
        url = f"{self._service.api_url}/service/{self._service.service_id}/purge"
        for start in range(0, len(keys), KEYS_AT_ONCE):
            body = json.dumps({"surrogate_keys": list(keys[start : start + KEYS_AT_ONCE])}).encode()
            request = CacheRequest("POST", url, headers, body)
            answer = await ask(self.name, request, timeout_seconds=self._service.timeout_seconds)
            _require_confirmation(answer, keys[start : start + KEYS_AT_ONCE])

    def _token(self) -> str:
        file = self._service.token_file
        try:
            token = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise not_purged(f"fastly's token file {file} cannot be read ({type(error).__name__})") from error
        # What is not printable would make another header of what follows it.
        if not token or not token.isprintable():
            raise not_purged(f"fastly's token file {file} has no token")
        return token


def _require_confirmation(answer: bytes, keys: Sequence[str]) -> None:
    """Fastly names a purge's id by key. Anything else was answered by something that is not Fastly."""
    try:
        confirmed = json.loads(answer)
    except ValueError as error:
        raise not_purged("fastly answered something that is not JSON") from error
    if not isinstance(confirmed, dict) or not set(keys) <= confirmed.keys():
        raise not_purged("fastly did not confirm every key")
