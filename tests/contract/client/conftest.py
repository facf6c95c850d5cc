"""The daemons that the contract suite of the client runs on: the fake, and a real one with SoftHSM as a process."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, place_home, run_cli
from wharfinger_client import Client
from wharfinger_client.testing import FakeDaemon


@pytest.fixture(scope="session")
def real_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    place = tmp_path_factory.mktemp("client_contract")
    made = run_cli("init", "--development", "--home", str(place / "pristine"), "--bins", "2")
    assert made.returncode == 0, made.stderr
    daemon = DaemonProcess(place / "home", place_home(place / "pristine", place / "home"))
    try:
        daemon.start()
        yield daemon
    finally:
        if daemon.process is not None:
            daemon.stop()


@pytest.fixture(params=["fake", "real"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of each daemon. The real one is shared by the tests: each test names its own project."""
    if request.param == "fake":
        with FakeDaemon(repositories=frozenset({"development"})).client() as client:
            yield client
        return
    daemon: DaemonProcess = request.getfixturevalue("real_daemon")
    with daemon.client() as client:
        yield client


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A harmless wheel."""
    wheel = tmp_path / "example-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("example.py", "ANSWER = 42\n")
        archive.writestr("example-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    return wheel
