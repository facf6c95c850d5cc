"""Clients in threads, in forked children, in event loops, and after their end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.client.fake_daemon import Authority, FakeDaemon
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger_client import AsyncClient, Client, ClientSettings

REPLY = metadata_pb2.GetMetadataResponse(content=b"{}", version=7)

# Runs in a process of its own, because a fork of a process with the server's threads would be a test of luck.
FORKING = """
import asyncio, os, sys
from wharfinger_client import AsyncClient, Client, ClientSettings, TlsIdentity
address, folder, kind = sys.argv[1:]
settings = ClientSettings(address, TlsIdentity(f"{folder}/ca", f"{folder}/crt", f"{folder}/key"))

async def awaited(client):
    async with client:
        return (await client.get_metadata("pypi", "root")).version

def blocked(client):
    return client.get_metadata("pypi", "root").version

client = AsyncClient(settings) if kind == "asyncio" else Client(settings)
if kind == "connected":
    assert 7 == blocked(client)
child = os.fork()
if child == 0:
    version = asyncio.run(awaited(client)) if kind == "asyncio" else blocked(client)
    if kind != "asyncio":
        client.close()
    sys.exit(version)
_, status = os.waitpid(child, 0)
assert 7 == os.waitstatus_to_exitcode(status), status
if kind != "asyncio":
    assert 7 == blocked(client)
    client.close()
else:
    assert 7 == asyncio.run(awaited(client))
print("done")
"""

# The import system of a machine that has the base dependencies and nothing else.
BASE_ONLY = """
import sys
allowed = {"grpc", "google", "typing_extensions", "wharfinger", "wharfinger_client"} | set(sys.stdlib_module_names)

class OnlyBase:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"not a base dependency: {name}", name=name)
        return None

for name in [name for name in sys.modules if name.partition(".")[0] not in allowed]:
    del sys.modules[name]
sys.meta_path.insert(0, OnlyBase())
import wharfinger_client
from wharfinger_client import *
client = wharfinger_client.Client(wharfinger_client.ClientSettings("x", wharfinger_client.TlsIdentity("a", "b", "c")))
client.close()
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"grpc_status", "grpc_health", "cryptography", "wharfinger_daemon", "wharfinger_hsm"}, loaded
print("done")
"""


@pytest.fixture
def folder(authority: Authority, tmp_path: Path) -> Path:
    certificate, key = authority.identity()
    for name, content in (("ca", authority.ca), ("crt", certificate), ("key", key)):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def _python(program: str, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments], capture_output=True, text=True, timeout=60
    )
    assert 0 == finished.returncode, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("kind", ["blocking", "connected", "asyncio"])
def test_a_forked_child_can_call(kind: str, daemon: FakeDaemon, folder: Path) -> None:
    """A preloaded web server and a prefork task queue construct the client before they fork; after a call, too."""
    daemon.script.set("GetMetadata", REPLY)
    assert "done\n" == _python(FORKING, daemon.address, str(folder), kind)


def test_the_client_needs_the_base_dependencies_only() -> None:
    assert "done\n" == _python(BASE_ONLY)


def test_nothing_is_read_or_connected_before_the_first_call(settings: ClientSettings) -> None:
    with Client(ClientSettings("nowhere.invalid:1", settings.tls)):
        pass


def test_threads_share_one_client_and_one_connection(daemon: FakeDaemon, settings: ClientSettings) -> None:
    daemon.script.set("GetMetadata", REPLY)
    with Client(settings) as client, ThreadPoolExecutor(16) as threads:
        versions = list(threads.map(lambda _: client.get_metadata("pypi", "root").version, range(64)))
        assert [7] * 64 == versions
        assert 1 == len(client._channels)


def test_of_two_threads_that_connect_at_once_one_gives_its_channel_up(
    daemon: FakeDaemon, settings: ClientSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.script.set("GetMetadata", REPLY)
    with Client(settings) as client:

        def late(mapping: object) -> None:
            """The other thread is faster: it connects between this thread's look and its entry."""
            monkeypatch.undo()
            client.get_metadata("pypi", "root")

        monkeypatch.setattr("wharfinger_client._channel.options", lambda chosen: late(chosen) or [])
        assert 7 == client.get_metadata("pypi", "root").version
        assert 1 == len(client._channels)


def test_a_closed_client_says_so(settings: ClientSettings) -> None:
    client = Client(settings)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="The client is closed"):
        client.get_scan("scan-1")


async def test_a_closed_asyncio_client_says_so(settings: ClientSettings) -> None:
    client = AsyncClient(settings)
    await client.close()
    await client.close()
    with pytest.raises(RuntimeError, match="The client is closed"):
        await client.get_scan("scan-1")


def test_an_asyncio_client_belongs_to_one_event_loop(daemon: FakeDaemon, settings: ClientSettings) -> None:
    daemon.script.set("GetMetadata", REPLY)
    client = AsyncClient(settings)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        first.run_until_complete(client.get_metadata("pypi", "root"))
        with pytest.raises(RuntimeError, match="another event loop"):
            second.run_until_complete(client.get_metadata("pypi", "root"))
        first.run_until_complete(client.close())
    finally:
        first.close()
        second.close()


async def test_many_calls_run_side_by_side(daemon: FakeDaemon, settings: ClientSettings) -> None:
    daemon.script.set("GetMetadata", REPLY)
    async with AsyncClient(settings) as client:
        files = await asyncio.gather(*(client.get_metadata("pypi", "root") for _ in range(64)))
    assert [7] * 64 == [file.version for file in files]
