"""``wharfinger init`` on homes that were left half-made, and on homes with names that nobody expects."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon_process import run_cli
from tests.support.repository import published_versions
from wharfinger_daemon import config

INIT = ("init", "--development", "--bins", "2", "--home")


def test_an_init_that_is_killed_in_any_step_is_finished_by_the_next(tmp_path: Path) -> None:
    """kill -9 right after the first step began, then after the second …, until there is nothing left to kill."""
    home = tmp_path / "home"
    for steps in range(1, 20):
        command = [sys.executable, "-m", "wharfinger_daemon", *INIT, str(home)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
            assert process.stderr is not None
            told = [line for _ in range(steps) if (line := process.stderr.readline())]
            if len(told) < steps:
                break
            process.kill()
    assert (0, True) == (process.returncode, steps > 3)
    assert {"timestamp", "snapshot"} <= published_versions(home / "metadata").keys()
    assert 0 == run_cli("config", "check", "--config", str(home / "config.toml")).returncode


def test_a_token_that_was_left_without_its_pin_is_made_anew(tmp_path: Path) -> None:
    """SoftHSM writes neither tokens nor keys as a whole: what a killed init left may look like a token and be none."""
    home = tmp_path / "home"
    (home / "targets").mkdir(parents=True)
    half_made = home / "softhsm" / "tokens" / "half-made"
    half_made.mkdir(parents=True)
    (half_made / "token.object").write_bytes(b"\0" * 8)
    (home / "pin.unfinished").write_text("1234")
    result = run_cli(*INIT, str(home))
    assert 0 == result.returncode, result.stderr
    assert not half_made.exists()
    assert not (home / "pin.unfinished").exists()


def test_a_token_with_keys_in_use_is_never_made_anew(pristine_home: Path, tmp_path: Path) -> None:
    """Its PIN file may be away by mistake, and the repository hangs on its keys."""
    home = tmp_path / "home"
    shutil.copytree(pristine_home, home)
    (home / "pin").unlink()
    tokens = sorted((home / "softhsm").rglob("*"))
    result = run_cli(*INIT, str(home))
    assert (2, True) == (result.returncode, "pin is missing" in result.stderr)
    assert tokens == sorted((home / "softhsm").rglob("*"))


@pytest.mark.parametrize("name", ['a "quoted" name', "back\\slash", "für ärzte", "is it?", "50%20off", "$HOME"])
def test_a_home_may_be_called_as_it_likes(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    result = run_cli(*INIT, str(home))
    assert 0 == result.returncode, result.stderr
    assert (home / "wharfinger.db").is_file()
    assert [home] == list(tmp_path.iterdir())
    settings = config.load(home / "config.toml")
    assert settings.hsm is not None
    assert str(home / "softhsm" / "softhsm2.conf") == settings.hsm.environment["SOFTHSM2_CONF"]


@pytest.mark.parametrize("name", ["ha#sh", "two\nlines", os.fsdecode(b"\xff")], ids=ascii)
def test_a_name_that_softhsm_cannot_write_down_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    result = run_cli(*INIT, str(tmp_path / name))
    assert (2, True) == (result.returncode, "Name another folder" in result.stderr)
    assert [] == list(tmp_path.iterdir())


def test_a_relative_home_means_the_current_folder_and_an_empty_one_the_default(tmp_path: Path) -> None:
    for value, place in (("here", "here"), ("", ".wharfinger")):
        environment = {**os.environ, "WHARFINGER_HOME": value}
        command = [sys.executable, "-m", "wharfinger_daemon", "init", "--development", "--bins", "2"]
        made = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert 0 == made.returncode, made.stderr
        assert (tmp_path / place / "config.toml").is_file()
    assert {"here", ".wharfinger"} == {entry.name for entry in tmp_path.iterdir()}


def test_a_machine_without_softhsm_is_told_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wharfinger_daemon", *INIT, str(tmp_path / "home")]
    result = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, timeout=60)
    assert (2, True) == (result.returncode, "apt-get install softhsm2" in result.stderr)
    assert "Traceback" not in result.stderr


def test_a_home_that_cannot_be_made_is_said_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run_cli(*INIT, str(tmp_path / "file" / "home"))
    assert (2, True) == (result.returncode, "Not a directory" in result.stderr)
    assert "Traceback" not in result.stderr
