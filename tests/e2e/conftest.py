"""Daemons to test against, each a process on a development home with SoftHSM, SQLite and a directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, place_home, run_cli


@pytest.fixture(scope="session")
def pristine_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A development home that no daemon has touched; copy it."""
    home = tmp_path_factory.mktemp("pristine") / "home"
    made = run_cli("init", "--development", "--home", str(home), "--bins", "4")
    assert made.returncode == 0, made.stderr
    return home


@pytest.fixture
def home(pristine_home: Path, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A home with a daemon that does not run yet; if the test starts it, it is ended whatever happened."""
    place = tmp_path / "home"
    prepared = DaemonProcess(place, place_home(pristine_home, place))
    try:
        yield prepared
    finally:
        if prepared.process is not None and prepared.process.poll() is None:
            prepared.kill()


@pytest.fixture
def daemon(home: DaemonProcess) -> DaemonProcess:
    """A daemon that runs."""
    home.start()
    return home


@pytest.fixture(scope="module")
def shared_daemon(pristine_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for the tests of a module that do not harm it."""
    place = tmp_path_factory.mktemp("shared") / "home"
    shared = DaemonProcess(place, place_home(pristine_home, place))
    shared.start()
    try:
        yield shared
    finally:
        shared.kill()
