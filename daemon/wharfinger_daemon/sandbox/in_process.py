"""Examines without any sandbox: for tests, and for artifacts that are trusted as much as this program."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO

from wharfinger_daemon.sandbox.handover import readonly_descriptor
from wharfinger_daemon.scanning.deadline import WatchedDeadline
from wharfinger_daemon.scanning.engine import Engine, EngineLimits
from wharfinger_daemon.scanning.model import Examination, Subject
from wharfinger_daemon.scanning.plugin import Check
from wharfinger_daemon.scanning.registry import rule_set_version


class InProcessExaminer:
    """An ``Examiner`` in the caller's own thread: the event loop waits for it, and nothing ends a check that hangs.

    Another thread would not do, since compiled YARA-X rules must be used and dropped by the thread that made them.
    """

    def __init__(self, checks: Sequence[Check], limits: EngineLimits | None = None) -> None:
        self._engine = Engine(checks, limits or EngineLimits(), WatchedDeadline())
        self._rule_set = rule_set_version(checks)

    @property
    def rule_set(self) -> str:
        """The version of the rule set."""
        return self._rule_set

    async def examine(self, artifact: BinaryIO, subject: Subject) -> Examination:
        """Examines the artifact from its first byte."""
        with io.FileIO(readonly_descriptor(artifact), "rb") as file:
            return self._engine.examine(file, subject)
