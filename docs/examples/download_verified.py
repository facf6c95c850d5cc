"""Downloads files that an index published, and verifies them by its TUF metadata: what an installer does.

Against a development daemon (``make run``), trusting the root that came with the installer:

    python docs/examples/download_verified.py --root .wharfinger/metadata/1.root.json \\
        --metadata http://127.0.0.1:8080/metadata/ --targets http://127.0.0.1:8080/targets/ \\
        --cache cache --into downloads packages/ab/cd/example-1.0.tar.gz

``--metadata`` and ``--targets`` may also be folders, such as a mirror's: nothing is asked of the network then.

Exit status: 0 all are there and verified, 1 something does not verify (install nothing, and tell somebody), 2 used
wrongly, 3 the index does not list a path, 4 it cannot be reached, 5 what can be reached has expired.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.ngclient import FetcherInterface, Updater

# A snapshot that a client has just read may be swept an hour later, and the bins that it names with it (PEP 458).
ATTEMPTS = 3


class FolderFetcher(FetcherInterface):
    """Reads ``file:`` URLs: a mirror on a disk, for machines without a network."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        try:
            yield path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DownloadHTTPError(f"{path} is not there", 404) from error


class NotListedError(Exception):
    """The index lists no such path: it was removed, is not published yet, or never was."""


def download(arguments: argparse.Namespace) -> list[Path]:
    """Downloads everything by one state of the index; starts anew if that state goes away meanwhile."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            updater = open_updater(arguments)
            updater.refresh()
            return [download_one(updater, path) for path in arguments.paths]
        except DownloadHTTPError as error:
            if error.status_code not in (403, 404) or attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def open_updater(arguments: argparse.Namespace) -> Updater:
    """An updater reads one consistent state. Make a new one for each run, on the same cache: the cache remembers the
    newest versions seen, and so refuses an index that goes back to older ones."""
    local = "://" not in arguments.metadata
    for folder in (arguments.cache, arguments.into):
        folder.mkdir(parents=True, exist_ok=True)
    return Updater(
        str(arguments.cache),
        Path(arguments.metadata).resolve().as_uri() if local else arguments.metadata,
        str(arguments.into),
        Path(arguments.targets).resolve().as_uri() if local else arguments.targets,
        fetcher=FolderFetcher() if local else None,
        bootstrap=arguments.root.read_bytes(),
    )


def download_one(updater: Updater, path: str) -> Path:
    """Downloads one file unless it is there already; either way it has the length and the hashes that were signed."""
    target = updater.get_targetinfo(path)
    if target is None:
        raise NotListedError(path)
    return Path(updater.find_cached_target(target) or updater.download_target(target))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="the trusted root.json that came with this program")
    parser.add_argument("--metadata", required=True, help="URL or folder of the metadata")
    parser.add_argument("--targets", required=True, help="URL or folder of the files")
    parser.add_argument("--cache", type=Path, required=True, help="folder that remembers what was seen; keep it")
    parser.add_argument("--into", type=Path, required=True, help="folder for the files")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="what to download, as the index calls it")
    return parser.parse_args()


def main() -> int:
    try:
        for file in download(parse()):
            print(file)
    except NotListedError as error:
        print(f"not listed: {error}", file=sys.stderr)
        return 3
    except ExpiredMetadataError as error:  # A RepositoryError too, so it comes first.
        print(f"expired: {error}. Is this machine's clock right? If so, somebody keeps news away.", file=sys.stderr)
        return 5
    except (RepositoryError, DownloadLengthMismatchError) as error:
        print(f"does not verify: {error}", file=sys.stderr)
        return 1
    except DownloadError as error:
        print(f"cannot be reached: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
