"""A published repository as python-tuf's own client meets it: over HTTP, on loopback."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tuf.ngclient import Updater, UpdaterConfig

from tests.support.publishing import PublishingWorld, make_world

NewClient = Callable[..., Updater]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PublishingWorld]:
    made = await make_world(tmp_path / "world")
    (made.folder / "targets").mkdir()
    yield made
    made.close()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """The test speaks for itself."""


@pytest.fixture
def new_client(world: PublishingWorld, tmp_path: Path) -> Iterator[NewClient]:
    """Makes clients. Each has a name, under which it remembers what it has seen."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(world.folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"

    def make(name: str = "client") -> Updater:
        for folder in ("cache", "downloads"):
            (tmp_path / name / folder).mkdir(parents=True, exist_ok=True)
        return Updater(
            str(tmp_path / name / "cache"),
            f"{url}/metadata/",
            str(tmp_path / name / "downloads"),
            f"{url}/targets/",
            config=UpdaterConfig(prefix_targets_with_hash=True),
            bootstrap=(world.metadata / "1.root.json").read_bytes(),
        )

    yield make
    server.shutdown()
    thread.join()
    server.server_close()
