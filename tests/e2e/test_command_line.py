"""The command line as a newcomer meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, run_cli

COMMANDS = [
    [],
    ["serve"],
    ["init"],
    ["config"],
    ["config", "check"],
    ["scan"],
    ["checks"],
    ["checks", "list"],
    ["health"],
    ["db"],
    ["db", "upgrade"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "wharfinger")
def test_every_command_has_help(command: list[str]) -> None:
    result = run_cli(*command, "--help")
    assert 0 == result.returncode
    assert "Usage: wharfinger" in result.stdout


def test_init_again_changes_nothing(pristine_home: Path) -> None:
    # SoftHSM notes every log-in in its own files, and SQLite every opening.
    before = {
        file: file.read_bytes()
        for file in pristine_home.rglob("*")
        if file.is_file() and "tokens" not in file.parts and not file.name.startswith("wharfinger.db")
    }
    again = run_cli("init", "--development", "--home", str(pristine_home), "--json")
    assert 0 == again.returncode, again.stderr
    assert [] == json.loads(again.stdout)["steps"]
    assert before == {file: file.read_bytes() for file in before}


def test_init_keeps_secrets_to_its_user(pristine_home: Path) -> None:
    assert 0o700 == pristine_home.stat().st_mode & 0o777
    for name in ("pin", "so-pin", "tls/server.key", "tls/warehouse.key"):
        assert 0 == (pristine_home / name).stat().st_mode & 0o077, name
    for key in (pristine_home / "ceremony").rglob("*.pem"):
        assert 0 == key.stat().st_mode & 0o077, key


def test_init_refuses_a_folder_with_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    result = run_cli("init", "--development", "--home", str(tmp_path))
    assert 2 == result.returncode
    assert "other things" in result.stderr


def test_init_without_development_says_why_not(tmp_path: Path) -> None:
    result = run_cli("init", "--home", str(tmp_path / "home"))
    assert 2 == result.returncode
    assert "--development" in result.stderr


def test_config_check_says_what_is_wrong(home: DaemonProcess) -> None:
    configuration = home.home / "config.toml"
    good = run_cli("config", "check", "--config", str(configuration))
    assert 0 == good.returncode, good.stderr
    configuration.write_text(configuration.read_text().replace("[scan]", "[scan]\nworkrs = 3"))
    bad = run_cli("config", "check", "--config", str(configuration))
    assert 1 == bad.returncode
    assert "did you mean 'workers'" in bad.stderr
    told = json.loads(run_cli("config", "check", "--json", "--config", str(configuration)).stdout)
    assert (False, 1) == (told["valid"], len(told["problems"]))


def test_config_check_finds_files_that_are_missing(home: DaemonProcess) -> None:
    (home.home / "pin").unlink()
    result = run_cli("config", "check", "--config", str(home.home / "config.toml"))
    assert 1 == result.returncode
    assert "hsm.pin_file" in result.stderr


def test_health_tells_ready_from_gone(shared_daemon: DaemonProcess, home: DaemonProcess) -> None:
    well = run_cli("health", "--json", "--config", str(shared_daemon.home / "config.toml"))
    assert (0, True) == (well.returncode, json.loads(well.stdout)["ready"])
    gone = run_cli("health", "--config", str(home.home / "config.toml"))
    assert 2 == gone.returncode
    assert "does not answer" in gone.stdout


def test_checks_are_listed_with_the_rule_set() -> None:
    told = json.loads(run_cli("checks", "list", "--json").stdout)
    assert {"archive-structure", "eager-code", "yara-rules"} <= {check["name"] for check in told["checks"]}
    assert 64 == len(told["rule_set"])


def test_a_configuration_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    result = run_cli("serve", "--config", str(tmp_path / "absent.toml"))
    assert 2 == result.returncode
    assert "cannot be read" in result.stderr


def test_secrets_stand_in_no_log(shared_daemon: DaemonProcess) -> None:
    log = shared_daemon.log()
    for name in ("pin", "so-pin"):
        assert (shared_daemon.home / name).read_text() not in log
    assert "PRIVATE KEY" not in log
