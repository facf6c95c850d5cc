"""What a worker does before it is confined."""

from __future__ import annotations

from collections.abc import Iterator

from wharfinger_daemon.sandbox.preparation import try_out
from wharfinger_daemon.scanning.deadline import AlarmDeadline
from wharfinger_daemon.scanning.engine import Engine, EngineLimits
from wharfinger_daemon.scanning.needs import NEVER
from wharfinger_daemon.scanning.plugin import Evidence, FileCheck, Member


class Starts(FileCheck):
    """Starts something at its first member, as YARA-X starts a thread, and needs what no member has."""

    name = "starts"
    version = "1"
    needs = NEVER

    def __init__(self) -> None:
        self.started = False

    def member(self, member: Member) -> Iterator[Evidence]:
        self.started = True
        return iter(())


def test_every_check_is_tried_out_whatever_it_needs() -> None:
    check = Starts()
    try_out(Engine([check], EngineLimits(), AlarmDeadline()))
    assert check.started
