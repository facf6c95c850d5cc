"""Daemons to attack, each a process on a development home with SoftHSM, SQLite and a directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, place_home, run_cli


@pytest.fixture(scope="session")
def untouched_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A development home that no daemon has touched; copy it."""
    home = tmp_path_factory.mktemp("untouched") / "home"
    made = run_cli("init", "--development", "--home", str(home), "--bins", "4")
    assert made.returncode == 0, made.stderr
    return home


def configure(home: DaemonProcess, section: str, line: str) -> None:
    """Adds a line to a section of the configuration."""
    file = home.home / "config.toml"
    file.write_text(file.read_text().replace(f"[{section}]\n", f"[{section}]\n{line}\n"))


@pytest.fixture
def home(untouched_home: Path, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A home with a daemon that does not run yet; it is ended with the test, whatever happened."""
    place = tmp_path / "home"
    home = DaemonProcess(place, place_home(untouched_home, place))
    configure(home, "hsm", "canary_interval_seconds = 0.5")
    try:
        yield home
    finally:
        if home.process is not None and home.process.poll() is None:
            home.kill()


@pytest.fixture
def daemon(home: DaemonProcess) -> DaemonProcess:
    """A daemon that runs."""
    home.start()
    return home


@pytest.fixture(scope="module")
def shared_daemon(untouched_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for the attacks of a module that must leave it unharmed."""
    place = tmp_path_factory.mktemp("attacked") / "home"
    shared = DaemonProcess(place, place_home(untouched_home, place))
    configure(shared, "scan", "scan_timeout_seconds = 4\ncheck_timeout_seconds = 3")
    shared.start()
    try:
        yield shared
    finally:
        shared.kill()
