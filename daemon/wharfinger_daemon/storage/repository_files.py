"""Metadata files of a repository that may be anybody's: in a directory, or at a URL."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.metadata.verification.documents import FileTooLargeError, FileUnreadableError, RepositoryFiles

# Nothing that a repository names opens anything else: no links, no devices, and a pipe does not block.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK_BYTES = 64 * 1024
_CONNECT_SECONDS = 10.0
_FILE_SECONDS = 60.0
_ABSENT = frozenset({403, 404, 410})  # What clients take for the end of the roots.


def open_repository(location: str) -> RepositoryFiles:
    """The files at ``http(s)://…`` or in a directory.

    Raises:
        InvalidRequestError: there is no such directory, or the URL is of another kind.
    """
    if "://" in location:
        if not location.startswith(("http://", "https://")):
            raise InvalidRequestError(
                f"{location} cannot be read. Name a URL of http or https, or a directory.",
                reason=Reason.CONFIGURATION_INVALID,
            )
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


class HttpFiles:
    """Files beneath a URL; redirections are not followed.

    Args:
        file_seconds: within which a file must have come whole.
    """

    def __init__(self, url: str, *, file_seconds: float = _FILE_SECONDS) -> None:
        self._url = url.rstrip("/") + "/"
        self._file_seconds = file_seconds
        self._pool = urllib3.PoolManager(
            retries=urllib3.Retry(total=2, redirect=0, status=0, backoff_factor=0.2),
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_CONNECT_SECONDS),
            headers={"Accept-Encoding": "identity"},
        )

    def read(self, name: str, limit: int) -> bytes | None:
        """See ``RepositoryFiles``."""
        _require_plain(name)
        deadline = time.monotonic() + self._file_seconds
        try:
            answer = self._pool.request("GET", self._url + name, redirect=False, preload_content=False)
            try:
                if answer.status in _ABSENT:
                    return None
                if answer.status != 200:
                    raise FileUnreadableError(f"the server answers {answer.status}")
                return _within(_until(answer.read, deadline), limit)
            finally:
                answer.close()
        except (HTTPError, OSError) as error:
            raise FileUnreadableError(f"the server does not answer as it should ({str(error)[:200]})") from error


def _within(read: Callable[[int], bytes], limit: int) -> bytes:
    content = bytearray()
    while block := read(_BLOCK_BYTES):
        content += block
        if len(content) > limit:
            raise FileTooLargeError
    return bytes(content)


def _until(read: Callable[[int], bytes], deadline: float) -> Callable[[int], bytes]:
    def read_in_time(size: int) -> bytes:
        if time.monotonic() > deadline:
            raise FileUnreadableError("it did not come whole in time")
        return read(size)

    return read_in_time


def _require_plain(name: str) -> None:
    # Names of roles come from files that may be anybody's.
    if "/" in name or "\0" in name or "\\" in name or name.startswith("."):
        raise FileUnreadableError("no file may be called that")
