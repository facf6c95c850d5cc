"""A refused PIN is remembered, and forgotten as soon as somebody has changed the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from wharfinger_daemon.custody.wrong_pin import WrongPinMark
from wharfinger_daemon.errors import FatalConfigurationError, Reason


@pytest.fixture
def pin(tmp_path: Path) -> Path:
    file = tmp_path / "pin"
    file.write_text("1234")
    return file


def test_without_a_mark_nothing_is_refused(tmp_path: Path, pin: Path) -> None:
    WrongPinMark(tmp_path, pin, "token").require_unmarked()


def test_a_marked_pin_is_refused_by_every_later_start(tmp_path: Path, pin: Path) -> None:
    error = WrongPinMark(tmp_path, pin, "token").set()
    assert Reason.WRONG_PIN == error.reason
    for _ in range(2):
        with pytest.raises(FatalConfigurationError, match="not tried again"):
            WrongPinMark(tmp_path, pin, "token").require_unmarked()


def test_the_mark_does_not_hold_the_pin(tmp_path: Path, pin: Path) -> None:
    WrongPinMark(tmp_path, pin, "token").set()
    assert "1234" not in (tmp_path / "wrong-pin.json").read_text()


def test_a_changed_file_may_be_tried(tmp_path: Path, pin: Path) -> None:
    mark = WrongPinMark(tmp_path, pin, "token")
    mark.set()
    pin.write_text("12345")
    mark.require_unmarked()


def test_another_token_may_be_tried(tmp_path: Path, pin: Path) -> None:
    WrongPinMark(tmp_path, pin, "token").set()
    WrongPinMark(tmp_path, pin, "another").require_unmarked()


def test_each_of_several_tokens_has_a_mark_of_its_own(tmp_path: Path, pin: Path) -> None:
    WrongPinMark(tmp_path, pin, "token", "east").set()
    WrongPinMark(tmp_path, pin, "token", "west").require_unmarked()
    with pytest.raises(FatalConfigurationError):
        WrongPinMark(tmp_path, pin, "token", "east").require_unmarked()


def test_a_missing_pin_file_is_remembered_as_such(tmp_path: Path) -> None:
    mark = WrongPinMark(tmp_path, tmp_path / "absent", "token")
    mark.set()
    with pytest.raises(FatalConfigurationError):
        mark.require_unmarked()


def test_a_success_clears_the_mark(tmp_path: Path, pin: Path) -> None:
    mark = WrongPinMark(tmp_path, pin, "token")
    mark.set()
    mark.clear()
    mark.clear()
    mark.require_unmarked()


def test_a_mark_that_cannot_be_read_is_not_ignored(tmp_path: Path, pin: Path) -> None:
    """Fail closed: the token is worth more than the convenience."""
    (tmp_path / "wrong-pin.json").write_text("{")
    with pytest.raises(FatalConfigurationError, match="cannot be read"):
        WrongPinMark(tmp_path, pin, "token").require_unmarked()


def test_a_mark_that_cannot_be_written_still_ends_with_the_status_that_forbids_a_retry(
    tmp_path: Path, pin: Path
) -> None:
    """Any other error would have a service manager start again, until the token is locked."""
    error = WrongPinMark(tmp_path / "absent", pin, "token").set()
    assert isinstance(error, FatalConfigurationError)
    assert "could not be remembered" in error.message
