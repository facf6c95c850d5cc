"""Reads artifacts from URLs of allowed hosts: no redirects, no proxies, no user names, a deadline for the whole."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import SplitResult, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Timeout

from wharfinger_daemon.errors import (
    InvalidRequestError,
    NotFoundError,
    NotGrantedError,
    Reason,
    UnavailableError,
)
from wharfinger_daemon.scanning.model import ArtifactReference, ArtifactUrl

_CHUNK_BYTES = 1 << 16
_MAX_URL_CHARACTERS = 2048
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class FetchLimits:
    """Seconds: for a connection, for each read, and for the whole of one artifact."""

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    total_seconds: float = 300.0


class ArtifactUrls:
    """Reads https URLs of the allowed hosts, each given as ``host`` or ``host:port``.

    Args:
        hosts: the allowed ones; a host without a port means the scheme's own port.
        allow_http: also reads plain http; for tests and development.
        tls: whom to trust; the system's authorities if None.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        limits: FetchLimits | None = None,
        *,
        allow_http: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._limits = limits if limits is not None else FetchLimits()
        self._schemes = frozenset({"https", "http"} if allow_http else {"https"})
        self._tls = tls if tls is not None else ssl.create_default_context()

    async def check(self, reference: ArtifactReference) -> None:
        self._allowed(reference)

    async def chunks(self, reference: ArtifactReference) -> AsyncIterator[bytes]:
        fetch = _Fetch(self._allowed(reference), self._limits, self._tls)
        deadline = asyncio.get_running_loop().time() + self._limits.total_seconds
        try:
            await _within(deadline, fetch.begin, fetch)
            while chunk := await _within(deadline, fetch.read, fetch):
                yield chunk
        finally:
            await asyncio.to_thread(fetch.close)

    def _allowed(self, reference: ArtifactReference) -> SplitResult:
        assert isinstance(reference, ArtifactUrl)  # ArtifactSources sends paths elsewhere.
        url = _split(reference.url)
        if url.scheme not in self._schemes:
            raise InvalidRequestError("Artifacts are read from https URLs only.", reason=Reason.MALFORMED_REQUEST)
        if url.username is not None or url.password is not None:
            raise InvalidRequestError(
                "An artifact URL must not hold a user name or a password.", reason=Reason.MALFORMED_REQUEST
            )
        host, port = _host_and_port(url)
        allowed = f"{host}:{port}" in self._hosts or (port == _PORTS[url.scheme] and host in self._hosts)
        if not allowed:
            raise NotGrantedError(
                "Artifacts are not read from this host. Configure scan.allowed_hosts, or stream the artifact.",
                reason=Reason.HOST_NOT_ALLOWED,
            )
        return url


class _Fetch:
    """One request. ``begin``, ``read`` and ``close`` block, each on a thread; ``abort`` may come from another."""

    def __init__(self, url: SplitResult, limits: FetchLimits, tls: ssl.SSLContext) -> None:
        timeout = Timeout(connect=limits.connect_seconds, read=limits.read_seconds)
        host, port = _host_and_port(url)
        # A bare connection: what a pool adds, redirects, retries and proxies, is what must not happen here.
        self._connection: HTTPConnection = (
            HTTPSConnection(host, port, timeout=timeout.connect_timeout, ssl_context=tls)
            if url.scheme == "https"
            else HTTPConnection(host, port, timeout=timeout.connect_timeout)
        )
        self._read_seconds = limits.read_seconds
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._response: BaseHTTPResponse | None = None

    def begin(self) -> bytes:
        self._connection.connect()
        self._connection.timeout = self._read_seconds
        self._connection.sock.settimeout(self._read_seconds)
        self._connection.request(
            "GET", self._target, headers={"accept-encoding": "identity"}, preload_content=False, decode_content=False
        )
        self._response = self._connection.getresponse()
        _require_ok(self._response.status)
        return b""

    def read(self) -> bytes:
        assert self._response is not None
        # One read of the socket at most, so that a server cannot drip bytes past every timeout.
        chunk: bytes = self._response.read1(_CHUNK_BYTES, decode_content=False)
        return chunk

    def abort(self) -> None:
        """Makes a blocked call on another thread return at once."""
        connected = self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):  # It was closed already, which is what was wanted.
                connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        self._connection.close()


async def _within(deadline: float, step: Callable[[], bytes], fetch: _Fetch) -> bytes:
    running = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        async with asyncio.timeout_at(deadline):
            return await asyncio.shield(running)
    except TimeoutError as error:
        if asyncio.get_running_loop().time() < deadline:
            raise _failed("the server took too long to answer") from error
        raise _failed("the whole took too long") from error
    except (HTTPError, OSError, HTTPException) as error:
        raise _failed(type(error).__name__) from error
    finally:
        # The thread cannot be interrupted, but its socket can: it must have ended before anything is closed.
        if not running.done():
            fetch.abort()
            await asyncio.wait([running])
        if not running.cancelled():
            running.exception()


def _require_ok(status: int) -> None:
    if status == 200:
        return
    if status in (404, 410):
        raise NotFoundError(f"The server answered {status}.", reason=Reason.ARTIFACT_NOT_FOUND)
    if 300 <= status < 400:
        raise _failed(f"the server answered {status}, and redirects are not followed")
    raise _failed(f"the server answered {status}")


def _split(url: str) -> SplitResult:
    if not url or len(url) > _MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequestError(
            f"An artifact URL has 1 to {_MAX_URL_CHARACTERS} printable ASCII characters and no spaces.",
            reason=Reason.MALFORMED_REQUEST,
        )
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0 and "\\" not in url:
            return parts
    except ValueError:
        pass  # Brackets that do not match, or a port that is no number: refused like any other malformed URL.
    raise InvalidRequestError("The artifact URL is not well formed.", reason=Reason.MALFORMED_REQUEST)


def _host_and_port(url: SplitResult) -> tuple[str, int]:
    assert url.hostname is not None  # _split refuses URLs without one.
    return url.hostname, url.port or _PORTS[url.scheme]


def _failed(what: str) -> UnavailableError:
    return UnavailableError(
        f"The artifact could not be fetched: {what}. Submit it again later, or stream it.", reason=Reason.FETCH_FAILED
    )
