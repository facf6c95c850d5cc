"""Metadata files of a repository that may be anybody's: in a directory, or at a URL."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.metadata.verification.documents import FileTooLargeError, FileUnreadableError, RepositoryFiles

# Nothing that a repository names opens anything else: no links, no devices, and a pipe does not block.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK_BYTES = 64 * 1024
_ABSENT = frozenset({403, 404, 410})  # What clients take for the end of the roots.


def open_repository(location: str) -> RepositoryFiles:
    """The files at ``http(s)://…`` or in a directory.

    Raises:
        InvalidRequestError: there is no such directory, or the URL is of another kind.
    """
    if "://" in location:
        _require_url(location)
        return HttpFiles(location)
    if not Path(location).is_dir():
        raise InvalidRequestError(
            f"{location} is no directory. Name the directory of the metadata files, or their URL.",
            reason=Reason.CONFIGURATION_INVALID,
        )
    return DirectoryFiles(Path(location))


class DirectoryFiles:
    """Regular files of one directory; links are not followed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, name: str, limit: int) -> bytes | None:
        """See ``RepositoryFiles``."""
        _require_plain(name)
        try:
            descriptor = os.open(self._directory / name, _OPEN)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise FileUnreadableError(f"it cannot be opened ({error}); a link is not followed") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileUnreadableError("it is no regular file")
            return _within(lambda size: os.read(descriptor, size), limit)
        except OSError as error:
            raise FileUnreadableError(f"it cannot be read ({error.strerror})") from error
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class HttpLimits:
    """Seconds: for a connection and for each piece of an answer, and for the whole of one file."""

    step_seconds: float = 10.0
    file_seconds: float = 60.0


class HttpFiles:
    """Files beneath a URL, over one connection: no redirections, no proxies, no compression."""

    def __init__(self, url: str, limits: HttpLimits | None = None) -> None:
        self._url = urlsplit(url)
        self._limits = limits or HttpLimits()
        self._connection: HTTPConnection | None = None

    def read(self, name: str, limit: int) -> bytes | None:
        """See ``RepositoryFiles``."""
        _require_plain(name)
        if self._connection is not None:
            # A server may close a connection that was idle, and say so too late: that is no failure.
            with contextlib.suppress(HTTPError, OSError, HTTPException):
                return self._fetch(self._connection, name, limit)
            self.close()
        try:
            connection = self._connection = self._connect()
            connection.connect()
            return self._fetch(connection, name, limit)
        except (HTTPError, OSError, HTTPException) as error:
            self.close()
            raise FileUnreadableError(f"the server does not answer as it should ({type(error).__name__})") from error

    def close(self) -> None:
        """Closes the connection. What is read afterwards opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch(self, connection: HTTPConnection, name: str, limit: int) -> bytes | None:
        # Taken first: a response that lasts until the connection ends takes the socket away from it.
        with _deadline(connection.sock, self._limits.file_seconds):
            target = f"{self._url.path.rstrip('/')}/{quote(name)}"
            headers = {"Accept-Encoding": "identity"}
            connection.request("GET", target, headers=headers, preload_content=False, decode_content=False)
            response = connection.getresponse()
            whole = False
            try:
                content = _content(response, limit)
                whole = content is not None
            finally:
                response.close()
                if not whole or connection.sock is None:
                    self.close()  # What was not read would be taken for the next answer.
            return content

    def _connect(self) -> HTTPConnection:
        host, seconds = self._url.hostname or "", self._limits.step_seconds
        if self._url.scheme == "http":
            return HTTPConnection(host, self._url.port or 80, timeout=seconds)
        return HTTPSConnection(host, self._url.port or 443, timeout=seconds, ssl_context=ssl.create_default_context())


def _content(response: BaseHTTPResponse, limit: int) -> bytes | None:
    if response.status in _ABSENT:
        return None
    if response.status != 200:
        raise FileUnreadableError(f"the server answers {response.status}")
    content = _within(lambda size: response.read1(size, decode_content=False), limit)
    expected = response.headers.get("Content-Length", "")
    if expected.isdecimal() and len(content) != int(expected):
        raise HTTPException("the connection ended before the file")
    return content


@contextlib.contextmanager
def _deadline(connected: socket.socket, seconds: float) -> Iterator[None]:
    # Timeouts of a socket count from its last byte: a server could drip for ever.
    passed = threading.Event()
    timer = threading.Timer(seconds, _shut_down, [connected, passed])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if passed.is_set():
            raise FileUnreadableError("it did not come whole in time")


def _shut_down(connected: socket.socket, passed: threading.Event) -> None:
    passed.set()
    with contextlib.suppress(OSError):  # It was closed already, which is what was wanted.
        connected.shutdown(socket.SHUT_RDWR)


def _within(read: Callable[[int], bytes], limit: int) -> bytes:
    content = bytearray()
    while block := read(_BLOCK_BYTES):
        content += block
        if len(content) > limit:
            raise FileTooLargeError
    return bytes(content)


def _require_url(location: str) -> None:
    if not _is_plain_url(location):
        raise InvalidRequestError(
            f"{location!a} cannot be read. Name a URL of http or https, without user, query or fragment, or a "
            "directory.",
            reason=Reason.CONFIGURATION_INVALID,
        )


def _is_plain_url(location: str) -> bool:
    if not location.isascii() or not location.isprintable() or " " in location:
        return False
    try:
        parts = urlsplit(location)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            return False
    except ValueError:
        return False
    # A password would be seen in the list of processes.
    return not (parts.username or parts.password or parts.query or parts.fragment)


def _require_plain(name: str) -> None:
    # Names of roles come from files that may be anybody's.
    if "/" in name or "\0" in name or "\\" in name or name.startswith("."):
        raise FileUnreadableError("no file may be called that")
