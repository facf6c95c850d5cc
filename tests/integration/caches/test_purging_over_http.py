"""What goes over the wire to Fastly and to Varnish, to a server here that takes nothing else than what they take."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import free_port
from wharfinger_daemon.caches.fastly import KEYS_AT_ONCE, FastlyPurger, FastlyService
from wharfinger_daemon.caches.varnish import VarnishPurger
from wharfinger_daemon.errors import Reason, UnavailableError

TOKEN = "a-token-of-32-characters-or-so-0"


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Api:
    """Fastly's bulk purge as its reference describes it: the path, the token, at most 256 keys; an id for each key."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    status: int | None = None
    answer: bytes | None = None

    def reply(self, asked: Asked) -> tuple[int, bytes]:
        self.asked.append(asked)
        if self.status is not None:
            return self.status, b'{"msg":"Provided credentials are missing or invalid"}'
        if self.answer is not None:
            return 200, self.answer
        if asked.method == "PURGE":
            return (
                (200, b"Purged 1\n")
                if "xkey-purge" in asked.headers or "xkey-softpurge" in asked.headers
                else (400, b"")
            )
        if asked.headers.get("fastly-key") != TOKEN:
            return 401, b"{}"
        keys = json.loads(asked.body)["surrogate_keys"]
        if asked.path != "/service/SU1Z0/purge" or len(keys) > 256:
            return 400, b"{}"
        return 200, json.dumps({key: f"108-{number}" for number, key in enumerate(keys)}).encode()


@pytest.fixture
def api() -> Iterator[Api]:
    state = Api()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = state.reply(Asked(self.command, self.path, headers, body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PURGE = answer  # noqa: N815  # as the base class wants them

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.port = server.server_port
        yield state
        server.shutdown()
        thread.join()


def fastly(api: Api, folder: Path, *, soft: bool = False, token: str = f"{TOKEN}\n") -> FastlyPurger:
    (folder / "token").write_text(token)
    return FastlyPurger(FastlyService("SU1Z0", folder / "token", soft, f"http://127.0.0.1:{api.port}", 5))


async def refusal(purger: FastlyPurger | VarnishPurger) -> str:
    with pytest.raises(UnavailableError) as refused:
        await purger.purge(["timestamp"])
    assert Reason.CACHE_NOT_PURGED == refused.value.reason
    assert TOKEN not in str(refused.value)
    return str(refused.value)


async def test_fastly_gets_one_request_with_the_keys_and_the_token(api: Api, tmp_path: Path) -> None:
    await fastly(api, tmp_path).purge(["timestamp", "metadata-absent"])
    [asked] = api.asked
    assert ("POST", "/service/SU1Z0/purge") == (asked.method, asked.path)
    assert {"surrogate_keys": ["timestamp", "metadata-absent"]} == json.loads(asked.body)
    assert (TOKEN, "application/json") == (asked.headers["fastly-key"], asked.headers["content-type"])
    assert "fastly-soft-purge" not in asked.headers


async def test_fastly_is_asked_to_mark_as_stale_if_that_is_wanted(api: Api, tmp_path: Path) -> None:
    await fastly(api, tmp_path, soft=True).purge(["timestamp"])
    assert "1" == api.asked[0].headers["fastly-soft-purge"]


async def test_fastly_gets_no_more_keys_at_once_than_it_takes(api: Api, tmp_path: Path) -> None:
    keys = [f"key-{number}" for number in range(2 * KEYS_AT_ONCE + 1)]
    await fastly(api, tmp_path).purge(keys)
    sent = [json.loads(asked.body)["surrogate_keys"] for asked in api.asked]
    assert [256, 256, 1] == [len(one) for one in sent]
    assert keys == [key for one in sent for key in one]


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503, 301])
async def test_fastly_refuses_and_the_message_says_how_without_the_token(api: Api, tmp_path: Path, status: int) -> None:
    api.status = status
    assert f"fastly answered {status}" in await refusal(fastly(api, tmp_path))


@pytest.mark.parametrize("answer", [b"<html>a login page</html>", b"[]", b"{}", b'{"other": "1"}', b"\xff"])
async def test_an_answer_that_confirms_nothing_is_a_failure(api: Api, tmp_path: Path, answer: bytes) -> None:
    api.answer = answer
    assert "fastly" in await refusal(fastly(api, tmp_path))


@pytest.mark.parametrize("token", ["", "\n", "a\r\nX-Other: b", "ключ"])
async def test_a_file_without_a_token_is_named_and_nothing_sent(api: Api, tmp_path: Path, token: str) -> None:
    assert str(tmp_path / "token") in await refusal(fastly(api, tmp_path, token=token))
    assert [] == api.asked


async def test_a_token_is_exchanged_without_a_restart(api: Api, tmp_path: Path) -> None:
    purger = fastly(api, tmp_path, token="an old one")
    assert "401" in await refusal(purger)
    (tmp_path / "token").write_text(TOKEN)
    await purger.purge(["timestamp"])


async def test_nobody_there_is_a_failure_within_its_time(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    nobody = f"127.0.0.1:{free_port()}"
    absent = FastlyPurger(FastlyService("SU1Z0", tmp_path / "token", False, f"http://{nobody}", 1))
    assert "does not answer" in await refusal(absent)
    assert f"varnish {nobody} does not answer" in await refusal(VarnishPurger(nobody))


@pytest.mark.parametrize(("soft", "header"), [(False, "xkey-purge"), (True, "xkey-softpurge")])
async def test_varnish_gets_the_keys_in_a_header(api: Api, soft: bool, header: str) -> None:
    await VarnishPurger(f"127.0.0.1:{api.port}", soft=soft).purge(["timestamp", "metadata-absent"])
    [asked] = api.asked
    assert ("PURGE", "timestamp metadata-absent") == (asked.method, asked.headers[header])


async def test_a_varnish_that_refuses_is_named(api: Api) -> None:
    api.status = 403
    assert f"varnish 127.0.0.1:{api.port} answered 403" in await refusal(VarnishPurger(f"127.0.0.1:{api.port}"))
