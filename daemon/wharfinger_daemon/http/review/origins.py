"""Under which names browsers reach the pages.

Requests that name another host are refused: a page of another site whose name was made to resolve to loopback
(DNS rebinding) would otherwise share an origin with ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request


@dataclass(frozen=True)
class Origins:
    """The names that are good.

    Attributes:
        external: what people type, without a slash at the end, such as ``https://review.example.com``.
        addresses: HOST:PORT by which the pages can be reached without TLS, on loopback.
    """

    external: str
    addresses: frozenset[str]

    @classmethod
    def of(cls, address: str, external_url: str) -> Origins:
        """Of an address that is listened on, and the URL that a TLS proxy gives to it; empty if there is none."""
        port = address.rpartition(":")[2]
        return cls(external_url.rstrip("/") or f"http://{address}", frozenset({address, f"localhost:{port}"}))

    @property
    def secure(self) -> bool:
        """Whether browsers come over TLS, so that cookies may be kept to it."""
        return self.external.startswith("https://")

    def has_host(self, host: str) -> bool:
        """Whether a Host header names us."""
        return host.lower() in self.addresses or host.lower() == urlsplit(self.external).netloc.lower()

    def sent(self, request: Request) -> bool:
        """Whether a request that changes something comes from a page of ours, as far as the browser tells.

        It is the second lock: the first is the session's form token.
        """
        site = request.headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            return False
        origin = request.headers.get("origin")
        if origin is None:
            return True
        return origin == self.external or origin in {f"http://{address}" for address in self.addresses}
