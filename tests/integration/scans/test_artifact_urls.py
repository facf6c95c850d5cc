"""URLs of allowed hosts, against a server on the loopback interface."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from wharfinger_daemon.errors import (
    InvalidRequestError,
    NotFoundError,
    NotGrantedError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from wharfinger_daemon.scanning.artifacts import spool
from wharfinger_daemon.scanning.model import ArtifactUrl
from wharfinger_daemon.storage.artifact_urls import ArtifactUrls, FetchLimits

BODY = bytes(range(256)) * 1000
LIMITS = FetchLimits(connect_seconds=5, read_seconds=0.3, total_seconds=5)


class Handler(BaseHTTPRequestHandler):
    """Each path behaves in a way of its own."""

    released = threading.Event()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        answer = getattr(self, "answer_" + path.strip("/").replace("-", "_"), None)
        if answer is None:
            self.send_error(404)
        else:
            answer()

    def answer_file(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def answer_redirect(self) -> None:
        self.send_response(302)
        self.send_header("location", "/file")
        self.send_header("content-length", "0")
        self.end_headers()

    def answer_broken(self) -> None:
        self.send_error(500)

    def answer_cut(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1000])

    def answer_silent(self) -> None:
        self.released.wait(10)

    def answer_stalled(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1000])
        self.wfile.flush()
        self.released.wait(10)

    def answer_dripping(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.released.wait(0.02):
            try:
                self.wfile.write(b"x")
                self.wfile.flush()
            except OSError:
                return

    def answer_dripping_head(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nx: ")
        self.answer_dripping_body()

    def answer_dripping_body(self) -> None:
        while not self.released.wait(0.02):
            try:
                self.wfile.write(b"x")
                self.wfile.flush()
            except OSError:
                return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base has
        pass


class Server(ThreadingHTTPServer):
    """Waits for its threads, and is not upset by clients that go away."""

    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving(None)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    yield from serving(context)


def serving(context: ssl.SSLContext | None) -> Iterator[Server]:
    Handler.released.clear()
    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        Handler.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def source(server: Server, limits: FetchLimits = LIMITS) -> ArtifactUrls:
    return ArtifactUrls([f"127.0.0.1:{server.server_port}"], limits, allow_http=True)


def url(server: Server, path: str) -> ArtifactUrl:
    return ArtifactUrl(f"http://127.0.0.1:{server.server_port}{path}")


async def fetched(urls: ArtifactUrls, reference: ArtifactUrl, sha256: str = "", max_bytes: int = 1 << 20) -> bytes:
    await urls.check(reference)
    spooled = await spool(urls.chunks(reference), expected_sha256=sha256, max_bytes=max_bytes)
    with spooled.file as file:
        return file.read()


async def test_an_artifact_is_fetched_with_its_digest(server: Server) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    assert BODY == await fetched(source(server), url(server, "/file?x=1"), digest)


async def test_an_artifact_is_fetched_over_tls_of_a_trusted_authority(
    tls_server: Server, authority: trustme.CA
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    host = f"localhost:{tls_server.server_port}"
    reference = ArtifactUrl(f"https://{host}/file")
    assert BODY == await fetched(ArtifactUrls([host], LIMITS, tls=context), reference)


async def test_an_unknown_authority_is_refused(tls_server: Server) -> None:
    host = f"localhost:{tls_server.server_port}"
    with pytest.raises(UnavailableError) as caught:
        await fetched(ArtifactUrls([host], LIMITS), ArtifactUrl(f"https://{host}/file"))
    assert Reason.FETCH_FAILED == caught.value.reason


async def test_wrong_bytes_are_a_digest_mismatch(server: Server) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await fetched(source(server), url(server, "/file"), "f" * 64)
    assert Reason.DIGEST_MISMATCH == caught.value.reason


async def test_too_many_bytes_are_refused_before_all_are_read(server: Server) -> None:
    with pytest.raises(OverloadedError) as caught:
        await fetched(source(server), url(server, "/dripping"), max_bytes=3)
    assert Reason.ARTIFACT_TOO_LARGE == caught.value.reason


@pytest.mark.parametrize("path", ["/redirect", "/broken", "/cut", "/silent", "/stalled"])
async def test_redirects_errors_and_silence_are_failures(server: Server, path: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        await fetched(source(server), url(server, path))
    assert Reason.FETCH_FAILED == caught.value.reason


async def test_a_missing_file_is_not_found(server: Server) -> None:
    with pytest.raises(NotFoundError) as caught:
        await fetched(source(server), url(server, "/missing"))
    assert Reason.ARTIFACT_NOT_FOUND == caught.value.reason


@pytest.mark.parametrize("path", ["/dripping", "/dripping-head"])
async def test_a_server_that_drips_bytes_is_cut_off(server: Server, path: str) -> None:
    """Each byte comes in time; the whole does not."""
    limits = FetchLimits(connect_seconds=5, read_seconds=5, total_seconds=0.3)
    async with asyncio.timeout(10):
        with pytest.raises(UnavailableError) as caught:
            await fetched(source(server, limits), url(server, path))
    assert Reason.FETCH_FAILED == caught.value.reason


async def test_a_cancelled_fetch_ends_at_once(server: Server) -> None:
    limits = FetchLimits(connect_seconds=5, read_seconds=60, total_seconds=60)
    fetching = asyncio.create_task(fetched(source(server, limits), url(server, "/silent")))
    await asyncio.sleep(0.1)
    fetching.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await fetching


async def test_nobody_there_is_a_failure(server: Server) -> None:
    with pytest.raises(UnavailableError):
        await fetched(ArtifactUrls(["127.0.0.1:1"], LIMITS, allow_http=True), ArtifactUrl("http://127.0.0.1:1/file"))


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.org/a.whl",
        "https://example.com:8443/a.whl",
        "https://example.com.example.org/a.whl",
        "https://files.example.org/a.whl",
        "https://127.0.0.1/a.whl",
    ],
)
async def test_hosts_that_are_not_listed_are_refused(reference: str) -> None:
    urls = ArtifactUrls(["example.com", "files.example.org:444"])
    for hosts in (urls, ArtifactUrls([])):
        with pytest.raises(NotGrantedError) as caught:
            await hosts.check(ArtifactUrl(reference))
        assert Reason.HOST_NOT_ALLOWED == caught.value.reason


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "http://example.com/a.whl",
        "file:///etc/passwd",
        "ftp://example.com/a.whl",
        "https:///a.whl",
        "https://user@example.com/a.whl",
        "https://user:password@example.com/a.whl",
        "https://example.com@example.org/a.whl",
        "https://example.com\\@example.org/a.whl",
        "https://example.com:0/a.whl",
        "https://example.com:99999/a.whl",
        "https://[example.com/a.whl",
        "https://example.com/a b.whl",
        "https://example.com/a\r\nx: y",
        "https://example.com/ä.whl",
        "https://example.com/" + "a" * 3000,
    ],
)
async def test_malformed_urls_and_other_schemes_are_refused(reference: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await ArtifactUrls(["example.com", "example.org"]).check(ArtifactUrl(reference))
    assert Reason.MALFORMED_REQUEST == caught.value.reason


async def test_hosts_are_compared_without_case_and_with_the_default_port() -> None:
    urls = ArtifactUrls(["EXAMPLE.com", "example.org:8443"])
    for reference in ("https://Example.Com/a", "https://example.com:443/a", "https://example.org:8443/a"):
        await urls.check(ArtifactUrl(reference))
