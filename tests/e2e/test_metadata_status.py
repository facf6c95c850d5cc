"""``wharfinger metadata status``, beside a daemon and without one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

from tests.support.daemon_process import DaemonProcess, run_cli


def status(home: DaemonProcess) -> tuple[int, Any]:
    done = run_cli("metadata", "status", "--json", "--config", str(home.home / "config.toml"))
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def test_state_is_told_beside_a_daemon_that_publishes(shared_daemon: DaemonProcess) -> None:
    code, told = status(shared_daemon)
    assert (0, False, None) == (code, told["wrong"], told["prepared"])
    assert ["root", "targets", "bins", "snapshot", "timestamp"] == [one["role"] for one in told["roles"]]
    assert {"valid"} == {one["urgency"] for one in told["roles"]}
    assert (4, 4, 0) == (told["bins"]["number"], told["bins"]["valid"], told["bins"]["expired"])
    assert told["files"]["kept"] >= 8
    assert 0 == told["files"]["sweepable"]


def test_people_get_a_table(shared_daemon: DaemonProcess) -> None:
    done = run_cli("metadata", "status", "--config", str(shared_daemon.home / "config.toml"))
    assert (0, "") == (done.returncode, done.stderr)
    for word in ("timestamp", "snapshot", "bins-", "first of 4", "valid", "files are kept"):
        assert word in done.stdout


def test_what_expired_while_the_daemon_was_down_is_found_and_renewed_at_the_next_start(home: DaemonProcess) -> None:
    """As if it had been down for weeks: the rows say when what they stand for expires."""
    with closing(sqlite3.connect(home.home / "wharfinger.db")) as database, database:
        online = "role LIKE '%-%' OR role IN ('snapshot', 'timestamp')"
        database.execute(f"UPDATE metadata_roles SET expires = '2020-01-01 00:00:00.000000' WHERE {online}")
    code, told = status(home)
    assert (1, True, 4) == (code, told["wrong"], told["bins"]["expired"])
    home.start()
    assert (0, False) == (status(home)[0], status(home)[1]["wrong"])


def test_home_without_a_database_is_told_what_to_do(home: DaemonProcess) -> None:
    (home.home / "wharfinger.db").unlink()
    done = run_cli("metadata", "status", "--config", str(home.home / "config.toml"))
    assert (2, "") == (done.returncode, done.stdout)
    assert "db upgrade" in done.stderr or "init" in done.stderr
