"""A second daemon on the same database, with addresses of its own, that publishes nothing: it would still sign."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.daemon_process import DaemonProcess, free_port, run_cli


def only_signs(daemon: DaemonProcess) -> Path:
    """A configuration that differs from the daemon's in its addresses, and in what it does."""
    text = (daemon.home / "config.toml").read_text()
    for port in daemon.ports.values():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    text = re.sub(r"(?m)^roles = .*$", 'roles = ["sign"]', text)
    other = daemon.home / "other.toml"
    other.write_text(text.replace('[metadata]\nrepository = "development"\n', ""))
    return other


def test_a_daemon_that_would_not_hear_of_a_suspension_does_not_start(daemon: DaemonProcess) -> None:
    second = run_cli("serve", "--config", str(only_signs(daemon)))
    assert 2 == second.returncode
    assert "signs with this database" in second.stderr


def test_keys_are_not_changed_behind_the_back_of_a_daemon_that_listens_elsewhere(daemon: DaemonProcess) -> None:
    other = only_signs(daemon)
    changed = run_cli("signing", "suspend", "development", "--reason", "test", "--local", "--config", str(other))
    assert 2 == changed.returncode
    assert "metadata directory" in changed.stderr or "signs with this database" in changed.stderr
    epoch = run_cli("ledger", "open-epoch", "development", "--confirm", "development", "--config", str(other))
    assert 2 == epoch.returncode
    assert "signs with this database" in epoch.stderr


def test_the_lock_of_a_daemon_that_was_killed_is_free(daemon: DaemonProcess) -> None:
    daemon.kill()
    daemon.start()
    assert 0 == daemon.stop()
