"""Commands that would each do what must be done once wait for each other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from wharfinger_daemon.cli.keys.exclusive import one_at_a_time
from wharfinger_daemon.errors import Reason, StartupError


def test_the_second_begins_when_the_first_is_done(tmp_path: Path) -> None:
    done: list[str] = []

    def second() -> None:
        with one_at_a_time(tmp_path):
            done.append("second")

    waiting = threading.Thread(target=second)
    with one_at_a_time(tmp_path):
        waiting.start()
        waiting.join(0.1)
        done.append("first")
    waiting.join()
    assert ["first", "second"] == done


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as refused, one_at_a_time(tmp_path / "absent"):
        pass
    assert Reason.CONFIGURATION_INVALID == refused.value.reason
