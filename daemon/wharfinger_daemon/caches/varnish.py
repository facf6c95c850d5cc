"""Purges Varnish by surrogate keys, with vmod_xkey of varnish-modules and the rules of ``deploy/varnish``."""

from __future__ import annotations

from collections.abc import Sequence

from wharfinger_daemon.caches.requests import CacheRequest, ask

# Varnish takes 8 KiB in a header unless told otherwise (http_req_hdr_len).
KEYS_AT_ONCE = 64


class VarnishPurger:
    """A ``CachePurger`` for one Varnish. Of several, each needs its own: they do not tell each other.

    Args:
        address: HOST:PORT. It must let this host purge.
        soft: mark as stale in place of dropping; Varnish then asks again, with the ETag.
        timeout_seconds: of one request.
    """

    def __init__(self, address: str, *, soft: bool = False, timeout_seconds: float = 2.0) -> None:
        self._address = address
        self._header = "xkey-softpurge" if soft else "xkey-purge"
        self._timeout_seconds = timeout_seconds

    @property
    def name(self) -> str:
        """``varnish`` and the address."""
        return f"varnish {self._address}"

    async def purge(self, keys: Sequence[str]) -> None:
        """Purges by keys.

        Raises:
            UnavailableError: CACHE_NOT_PURGED; it refused or does not answer.
        """
        for start in range(0, len(keys), KEYS_AT_ONCE):
            headers = {self._header: " ".join(keys[start : start + KEYS_AT_ONCE])}
            request = CacheRequest("PURGE", f"http://{self._address}/", headers)
            await ask(self.name, request, timeout_seconds=self._timeout_seconds)
