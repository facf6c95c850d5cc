"""An HTTP server between a client and another server, which does wrong what it is told to."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

_NOT_FORWARDED = {"connection", "transfer-encoding"}


class Fault(Enum):
    """What goes wrong with one request."""

    SLOW_DOWN = "it is answered with 503, and not done"
    CONFLICT = "it is answered with 409, and not done"
    REFUSED = "the connection ends, and it is not done"
    ANSWER_LOST = "it is done, and the connection ends without an answer"
    ANSWER_CUT = "it is done, and the connection ends within the answer"


class FaultyServer:
    """A context within which the server runs.

    Attributes:
        faults: asked for each request, by its method and path.
        requests: how many came.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.faults: Callable[[str, str], Fault | None] = lambda method, path: None
        self.requests = 0
        self._forgotten: set[str] = set(_NOT_FORWARDED)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def next(self, *faults: Fault, method: str = "PUT") -> None:
        """The next requests with this method meet these faults, one after another."""
        waiting, lock = list(faults), threading.Lock()

        def asked(of: str, path: str) -> Fault | None:
            with lock:
                return waiting.pop(0) if waiting and of == method else None

        self.faults = asked

    def forget_header(self, name: str) -> None:
        """Requests lose this header, as with a server that does not know it."""
        self._forgotten.add(name.lower())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self._target.hostname or "", self._target.port, timeout=30)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in self._forgotten}
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        class Handler(_Handler):
            server_of = self

        return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: FaultyServer

    def answer(self) -> None:
        self.server_of.requests += 1
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server_of.faults(self.command, self.path)
        self.close_connection = fault is not None
        if fault in (Fault.SLOW_DOWN, Fault.CONFLICT):
            self._send(503 if fault is Fault.SLOW_DOWN else 409, [], b"", length=0)
        elif fault is not Fault.REFUSED:
            status, headers, content = self.server_of.forward(self, body)
            if fault is not Fault.ANSWER_LOST:
                length = int(dict(headers).get("Content-Length", len(content)))
                self._send(status, headers, content, length=length + (fault is Fault.ANSWER_CUT))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815  # The library's names.

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, *, length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {*_NOT_FORWARDED, "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # The client went away.
            super().handle()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # The library's name.
        pass
