"""python-tuf's client on a directory of metadata, without a server in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater


class DirectoryFetcher(FetcherInterface):
    """Answers ``http://directory/NAME`` from a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _fetch(self, url: str) -> Iterator[bytes]:
        file = self._directory / unquote(urlsplit(url).path).lstrip("/")
        try:
            yield file.read_bytes()
        except FileNotFoundError as error:
            raise DownloadHTTPError(f"{file.name} is not there", 404) from error


def client_of(metadata: Path, cache: Path) -> Updater:
    """A client that trusts the directory's root 1, and remembers what it saw in ``cache``."""
    cache.mkdir(parents=True, exist_ok=True)
    return Updater(
        str(cache),
        "http://directory/",
        fetcher=DirectoryFetcher(metadata),
        bootstrap=(metadata / "1.root.json").read_bytes(),
    )
