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
def home(pristine_home: Path, tmp_path: Path) -> DaemonProcess:
    """A home with a daemon that does not run yet."""
    place = tmp_path / "home"
    return DaemonProcess(place, place_home(pristine_home, place))


@pytest.fixture
def daemon(home: DaemonProcess) -> Iterator[DaemonProcess]:
    """A daemon that runs, and is stopped at the end whatever happened."""
    home.start()
    try:
        yield home
    finally:
        assert home.process is not None
        if home.process.poll() is None:
            home.kill()


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
