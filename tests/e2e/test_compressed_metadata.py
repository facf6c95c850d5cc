"""Compressed in transit, what clients verify is the same bytes: those of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import urllib3
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from tests.support.daemon_process import DaemonProcess
from wharfinger_client import Target

PATHS = [f"packages/{number:02x}/some-project-{number}.0-py3-none-any.whl" for number in range(64)]


class CompressedFetcher(FetcherInterface):
    """Asks for gzip, as python-tuf's fetcher with requests does."""

    def __init__(self) -> None:
        self.compressed = 0

    def _fetch(self, url: str) -> Iterator[bytes]:
        reply = urllib3.request("GET", url, headers={"Accept-Encoding": "gzip"}, retries=False)
        if reply.status != 200:
            raise DownloadHTTPError(url, reply.status)
        self.compressed += reply.headers.get("content-encoding") == "gzip"
        yield reply.data


def test_every_file_decodes_to_the_bytes_of_the_store(shared_daemon: DaemonProcess) -> None:
    with shared_daemon.client() as client:
        client.publish_targets("development", add=[Target(path, 1, {"sha256": "0" * 64}) for path in PATHS])
    compressed = 0
    for file in sorted((shared_daemon.home / "metadata").glob("*.json")):
        for encoding in ("gzip", "identity"):
            reply = urllib3.request(
                "GET", shared_daemon.metadata_url + file.name, headers={"Accept-Encoding": encoding}, retries=False
            )
            assert (200, file.read_bytes()) == (reply.status, reply.data), file.name
            compressed += reply.headers.get("content-encoding") == "gzip"
    assert compressed > 4


def test_python_tuf_verifies_what_comes_compressed(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    with shared_daemon.client() as client:
        client.publish_targets("development", add=[Target(path, 1, {"sha256": "0" * 64}) for path in PATHS])
    (tmp_path / "metadata").mkdir()
    fetcher = CompressedFetcher()
    updater = Updater(
        str(tmp_path / "metadata"),
        shared_daemon.metadata_url,
        str(tmp_path),
        shared_daemon.targets_url,
        fetcher=fetcher,
        bootstrap=(shared_daemon.home / "metadata" / "1.root.json").read_bytes(),
    )
    assert None not in [updater.get_targetinfo(path) for path in PATHS]
    assert fetcher.compressed > 4
