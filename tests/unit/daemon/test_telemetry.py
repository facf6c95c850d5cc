"""Logs in one form, without what must not stand in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from wharfinger_daemon.telemetry import configure_logging


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The configuration is that of the process."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def stumble(secret: str) -> None:
    raise KeyError(f"stumbled over {len(secret)} characters")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_has_no_values_of_variables(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    """They may be anything: requests, artifacts, PINs."""
    configure_logging(level="info", json=as_json)
    try:
        stumble("-".join(("hunter", "2")))
    except KeyError as error:
        structlog.get_logger().error("unforeseen", exc_info=error)
        logging.getLogger("a.library").error("unforeseen", exc_info=error)
    told = capsys.readouterr().err
    assert 2 == told.count("stumbled over 8 characters")
    assert "hunter-2" not in told


def test_every_line_is_json_whoever_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", json=True)
    structlog.get_logger().info("ours", note="two\nlines")
    logging.getLogger("a.library").warning("theirs: %s", "two\nlines")
    logging.getLogger("alembic").info("chatter")
    structlog.get_logger().debug("too much")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ["ours", "theirs: two\nlines"] == [line["event"] for line in lines]
    assert ["info", "warning"] == [line["level"] for line in lines]


@pytest.mark.parametrize("said", ["schön \x9b31m", "\ud800", 2**64, ["\u2028"]])
def test_a_line_is_json_in_ascii_whatever_it_says(capsysbinary: pytest.CaptureFixture[bytes], said: object) -> None:
    """Who reads logs at a terminal must not be steered by what a caller sent."""
    configure_logging(level="info", json=True)
    structlog.get_logger().info("ours", note=said)
    line = capsysbinary.readouterr().err
    assert line.isascii()
    assert said == json.loads(line)["note"]


def test_a_line_tells_even_of_what_json_has_no_form_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", json=True)
    structlog.get_logger().info("ours", note=object)
    assert "object" in json.loads(capsys.readouterr().err)["note"]
