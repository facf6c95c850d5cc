"""A real daemon tells a stand-in for Fastly's API of publications; one that never answers holds up nothing."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3

from tests.support.daemon_process import DaemonProcess, poll
from wharfinger_client import Target

TOKEN = "a-token-that-may-purge"


@pytest.fixture
def api() -> Iterator[tuple[int, list[tuple[str, str | None, list[str]]]]]:
    """The port, and what was asked: path, token and keys."""
    asked: list[tuple[str, str | None, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys = json.loads(self.rfile.read(int(self.headers["content-length"])))["surrogate_keys"]
            asked.append((self.path, self.headers["fastly-key"], keys))
            answer = json.dumps(dict.fromkeys(keys, "108-1")).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


def configure(home: DaemonProcess, port: int) -> None:
    (home.home / "token").write_text(TOKEN)
    with (home.home / "config.toml").open("a") as file:
        file.write(
            f'\n[caches.fastly]\nservice_id = "SU1Z0"\ntoken_file = "token"\n'
            f'api_url = "http://127.0.0.1:{port}"\nagain_after_seconds = 0.1\ntimeout_seconds = 2\n'
        )


def publish(home: DaemonProcess, path: str) -> None:
    with home.client() as client:
        client.publish_targets("development", add=[Target(path, 1, {"sha256": "0" * 64})])


def metric(home: DaemonProcess, name: str) -> float:
    text = urllib3.request("GET", f"http://127.0.0.1:{home.ports['administration_http']}/metrics").data.decode()
    found = [line for line in text.splitlines() if line.startswith(f'wharfinger_{name}{{cache="fastly"}}')]
    return float(found[0].split()[-1]) if found else 0.0


def test_each_publication_is_told_twice_with_the_token(
    home: DaemonProcess, api: tuple[int, list[tuple[str, str | None, list[str]]]]
) -> None:
    port, asked = api
    configure(home, port)
    home.start()
    poll(lambda: len(asked) >= 2, "the start was told, and told again")
    before = len(asked)
    publish(home, "packages/told.whl")
    poll(lambda: len(asked) >= before + 2, "the publication was told, and told again")
    assert [("/service/SU1Z0/purge", TOKEN, ["timestamp", "metadata-absent"])] * len(asked) == asked
    poll(lambda: metric(home, "cache_purges_pending") == 0, "nothing is pending")
    assert metric(home, "cache_purges_total") >= 4
    assert 0 == home.stop()
    assert TOKEN not in home.log()


def test_an_api_that_never_answers_holds_up_no_publication_and_no_shutdown(home: DaemonProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        configure(home, deaf.getsockname()[1])
        home.start()
        for number in range(5):
            publish(home, f"packages/in-vain-{number}.whl")
        poll(lambda: metric(home, "cache_purge_failures_total") >= 1, "a failure was counted")
        assert metric(home, "cache_purges_pending") >= 5
        ready = urllib3.request("GET", f"http://127.0.0.1:{home.ports['http']}/readyz")
        assert (200, True) == (ready.status, "fastly" in str(ready.json()["notes"]))
        assert 0 == home.stop()
