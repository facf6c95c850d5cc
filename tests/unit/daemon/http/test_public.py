"""What a CDN reads: statuses and headers that caches can trust, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.daemon_process import free_port
from wharfinger_daemon.errors import NotFoundError, Reason, UnavailableError
from wharfinger_daemon.http.administration import build_administration_app
from wharfinger_daemon.http.metadata_files import ServingLimits
from wharfinger_daemon.http.public import Readiness, build_public_app
from wharfinger_daemon.http.server import HttpServer
from wharfinger_daemon.metadata.reading import MetadataFile
from wharfinger_daemon.telemetry import Metrics

LARGE = b'{"signed":{}}' * 1000
ENORMOUS = bytes(3 << 20)
FILES = {
    ("root", 1): b"root one",
    ("timestamp", 0): b"now",
    ("bins-0a", 7): b"bin",
    ("bins-0b", 7): LARGE,
    ("bins-0c", 7): ENORMOUS,
}
ETAG = "0" * 64


class ScriptedReader:
    """Has the files above; ``broken`` as soon as the store is."""

    def __init__(self) -> None:
        self.broken = False
        self.stumbles = False

    async def get(self, role: str, version: int = 0, *, if_none_match: str = "") -> MetadataFile:
        if self.stumbles:
            raise KeyError("a detail of the inside")
        if self.broken:
            raise UnavailableError("The disk is gone.", reason=Reason.STORE_UNAVAILABLE)
        if (role, version) not in FILES:
            raise NotFoundError("It is not there.", reason=Reason.METADATA_NOT_FOUND)
        return MetadataFile(version=version, etag=ETAG, content=FILES[role, version])


class Harness:
    """A server on a port of its own."""

    def __init__(self, targets: Path) -> None:
        self.reader = ScriptedReader()
        self.state = Readiness(ready=True)
        self.port = free_port()
        app = build_public_app(
            self.reader,  # type: ignore[arg-type]
            self._readiness,
            limits=ServingLimits(compressed_bytes=1 << 20, outgoing_bytes=4 << 20),
            targets_directory=targets,
        )
        self.server = HttpServer(app, f"127.0.0.1:{self.port}", patience_seconds=1)

    async def _readiness(self) -> Readiness:
        return self.state

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.port}{path}"
        return await asyncio.to_thread(
            lambda: urllib3.request(method, url, headers=named, retries=False, redirect=False, decode_content=False)
        )


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "a.whl").write_bytes(b"wheel")
    running = Harness(tmp_path)
    await running.server.start()
    try:
        yield running
    finally:
        await running.server.stop()


async def test_a_versioned_file_may_be_kept_for_ever(harness: Harness) -> None:
    reply = await harness.ask("/metadata/1.root.json")
    assert (200, b"root one") == (reply.status, reply.data)
    assert "public, max-age=31536000, immutable" == reply.headers["cache-control"]
    assert f'"{ETAG}"' == reply.headers["etag"]
    assert "metadata root" == reply.headers["surrogate-key"]


async def test_the_timestamp_lives_for_seconds(harness: Harness) -> None:
    reply = await harness.ask("/metadata/timestamp.json")
    assert (200, "public, max-age=10") == (reply.status, reply.headers["cache-control"])


@pytest.mark.parametrize("held", [f'"{ETAG}"', f'W/"{ETAG}"', f'"other", "{ETAG}"', "*"])
async def test_a_current_copy_is_not_sent_again(harness: Harness, held: str) -> None:
    reply = await harness.ask("/metadata/timestamp.json", if_none_match=held)
    assert (304, b"") == (reply.status, reply.data)
    assert f'"{ETAG}"' == reply.headers["etag"]


async def test_another_copy_is_replaced(harness: Harness) -> None:
    assert 200 == (await harness.ask("/metadata/timestamp.json", if_none_match='"x"')).status


async def test_a_client_that_takes_gzip_gets_it_and_caches_know(harness: Harness) -> None:
    plain = await harness.ask("/metadata/7.bins-0b.json")
    packed = await harness.ask("/metadata/7.bins-0b.json", accept_encoding="gzip")
    assert (LARGE, LARGE) == (plain.data, gzip.decompress(packed.data))
    assert (None, "gzip") == (plain.headers.get("content-encoding"), packed.headers["content-encoding"])
    assert [f'"{ETAG}"', f'"{ETAG}-gzip"'] == [it.headers["etag"] for it in (plain, packed)]
    assert ["Accept-Encoding"] * 2 == [it.headers["vary"] for it in (plain, packed)]
    assert [str(len(it.data)) for it in (plain, packed)] == [it.headers["content-length"] for it in (plain, packed)]


async def test_small_and_enormous_files_are_sent_as_they_are_and_vary_all_the_same(harness: Harness) -> None:
    for name in ("1.root.json", "7.bins-0c.json"):
        reply = await harness.ask(f"/metadata/{name}", accept_encoding="gzip")
        assert (None, "Accept-Encoding") == (reply.headers.get("content-encoding"), reply.headers["vary"])


@pytest.mark.parametrize(
    ("accepted", "held", "status"),
    [
        ("gzip", f'"{ETAG}-gzip"', 304),
        ("gzip", f'W/"{ETAG}-gzip"', 304),
        ("gzip", "*", 304),
        ("gzip", f'"{ETAG}"', 200),
        ("identity", f'"{ETAG}-gzip"', 200),
        ("identity", f'"{ETAG}"', 304),
    ],
)
async def test_a_copy_in_another_encoding_is_another_copy(
    harness: Harness, accepted: str, held: str, status: int
) -> None:
    reply = await harness.ask("/metadata/7.bins-0b.json", accept_encoding=accepted, if_none_match=held)
    assert (status, "Accept-Encoding") == (reply.status, reply.headers["vary"])


async def test_head_has_the_headers_of_the_encoding_that_get_would_have(harness: Harness) -> None:
    head = await harness.ask("/metadata/7.bins-0b.json", "HEAD", accept_encoding="gzip")
    got = await harness.ask("/metadata/7.bins-0b.json", accept_encoding="gzip")
    assert b"" == head.data
    for name in ("etag", "vary", "content-length", "content-encoding", "cache-control", "surrogate-key"):
        assert got.headers[name] == head.headers[name]


async def test_who_takes_no_answer_is_cut_off_and_others_are_served(harness: Harness) -> None:
    """A client that asks for a large file and does not read would hold it in memory, and its place, for ever."""
    request = b"GET /metadata/7.bins-0c.json HTTP/1.1\r\nhost: x\r\n\r\n"
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", harness.port))
        deaf.sendall(request)
        while True:
            refused = await harness.ask("/metadata/7.bins-0c.json")
            if refused.status == 503:
                break
        # There is room for one at a time, and what is small finds room beside it.
        assert ("1", "no-store") == (refused.headers["retry-after"], refused.headers["cache-control"])
        assert 200 == (await harness.ask("/metadata/1.root.json")).status
        async with asyncio.timeout(30):
            while (await harness.ask("/metadata/7.bins-0c.json")).status != 200:
                await asyncio.sleep(0.05)
        deaf.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            while deaf.recv(1 << 20):
                pass


async def test_a_range_gets_the_whole_file(harness: Harness) -> None:
    reply = await harness.ask("/metadata/1.root.json", range="bytes=0-1")
    assert (200, b"root one") == (reply.status, reply.data)


async def test_head_has_the_headers_and_no_content(harness: Harness) -> None:
    reply = await harness.ask("/metadata/1.root.json", "HEAD")
    assert (200, b"", "8") == (reply.status, reply.data, reply.headers["content-length"])


@pytest.mark.parametrize(
    "name",
    ["2.root.json", "root.json", "0.timestamp.json", "01.root.json", "1.timestamp.json", "1.root"],
)
async def test_what_is_missing_may_come_soon(harness: Harness, name: str) -> None:
    reply = await harness.ask(f"/metadata/{name}")
    assert (404, "public, max-age=10") == (reply.status, reply.headers["cache-control"])

    assert "metadata metadata-absent" == reply.headers["surrogate-key"]


@pytest.mark.parametrize(
    "path", ["metadata/8.bins-0a.json", "metadata/9.snapshot.json", "nothing", "metadata/..%2f1.x"]
)
async def test_nobody_who_asks_early_keeps_others_from_what_comes(harness: Harness, path: str) -> None:
    """A cache that kept this answer would give it to those who were just told of the file."""
    reply = await harness.ask(f"/{path}")
    assert (404, "no-store") == (reply.status, reply.headers["cache-control"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_other_methods_are_not_allowed(harness: Harness, method: str) -> None:
    reply = await harness.ask("/metadata/1.root.json", method)
    assert (405, "no-store") == (reply.status, reply.headers["cache-control"])
    assert "GET" in reply.headers["allow"]


@pytest.mark.parametrize("path", ["/metadata/1.root.json/", "/readyz/", "//evil.example/"])
async def test_nobody_is_redirected_to_a_host_that_the_request_names(harness: Harness, path: str) -> None:
    """A cache would keep the redirect, and lead others there."""
    reply = await harness.ask(path, host="evil.example")
    assert (404, None) == (reply.status, reply.headers.get("location"))


async def test_an_unforeseen_error_tells_nothing_and_is_not_cached(harness: Harness) -> None:
    harness.reader.stumbles = True
    reply = await harness.ask("/metadata/1.root.json")
    assert (500, "no-store") == (reply.status, reply.headers["cache-control"])
    assert b"a detail" not in reply.data


async def test_a_broken_store_is_said_and_not_cached(harness: Harness) -> None:
    harness.reader.broken = True
    reply = await harness.ask("/metadata/1.root.json")
    assert (503, "no-store") == (reply.status, reply.headers["cache-control"])


async def test_readiness_says_what_is_wrong(harness: Harness) -> None:
    assert 200 == (await harness.ask("/readyz")).status
    harness.state = Readiness(ready=False, problems=("signing: no token",), notes=("a cache is away",))
    reply = await harness.ask("/readyz")
    assert 503 == reply.status
    assert {"ready": False, "problems": ["signing: no token"], "notes": ["a cache is away"]} == reply.json()
    assert 200 == (await harness.ask("/healthz")).status


async def test_a_target_is_found_by_its_name_and_by_its_hash(harness: Harness) -> None:
    plain = await harness.ask("/targets/packages/a.whl")
    hashed = await harness.ask(f"/targets/packages/{'a' * 64}.a.whl")
    assert (b"wheel", b"wheel") == (plain.data, hashed.data)
    assert ("no-cache", True) == (plain.headers["cache-control"], "immutable" in hashed.headers["cache-control"])


@pytest.mark.parametrize(
    "path", ["packages/absent.whl", "packages", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "a%00b", "x" * 5000]
)
async def test_nothing_but_target_files_is_served(harness: Harness, path: str) -> None:
    assert 404 == (await harness.ask(f"/targets/{path}")).status


async def test_a_link_out_of_the_targets_is_not_followed(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc/passwd")
    assert 404 == (await harness.ask("/targets/out")).status


async def test_connections_without_a_whole_request_are_closed_and_others_served(harness: Harness) -> None:
    """Slowloris: silence, or a byte now and then, on as many connections as one can open."""
    hasty = HttpServer(build_administration_app(Metrics().registry), f"127.0.0.1:{free_port()}", patience_seconds=1)
    await hasty.start()
    host, _, port = hasty.address.rpartition(":")

    async def trickle(head: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        reading = asyncio.ensure_future(reader.read())
        writer.write(head)
        while not reading.done():
            writer.write(b"x-slow: 1\r\n" if head else b"")
            await asyncio.sleep(0.05)
        writer.close()
        return reading.result()

    request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n"
    silent, slow, second = await asyncio.wait_for(
        asyncio.gather(trickle(b""), trickle(request), trickle(request + b"\r\n" + request)), 60
    )
    await hasty.stop()
    assert (b"", b"", 1) == (silent, slow, second.count(b"HTTP/1.1 200 OK"))


async def test_metrics_are_in_the_text_format_of_prometheus() -> None:
    metrics = Metrics()
    metrics.publications.inc()
    port = free_port()
    server = HttpServer(build_administration_app(metrics.registry), f"127.0.0.1:{port}")
    await server.start()
    reply = await asyncio.to_thread(urllib3.request, "GET", f"http://127.0.0.1:{port}/metrics")
    await server.stop()
    assert b"wharfinger_publications_total 1.0" in reply.data
    assert b"_created" not in reply.data
