"""Every hostile archive in a real worker, with the built-in checks."""

from __future__ import annotations

import io

from tests.support.hostile_archives import TRICKS
from wharfinger_daemon.sandbox import InProcessExaminer, SandboxPool, SandboxSettings
from wharfinger_daemon.scanning.engine import EngineLimits
from wharfinger_daemon.scanning.model import Subject, SubjectKind
from wharfinger_daemon.scanning.registry import load_checks

SUBJECT = Subject(kind=SubjectKind.FILE, project="p", version="1", filename="p-1.tar.gz")


async def test_no_hostile_archive_is_judged_otherwise_in_the_sandbox() -> None:
    """Nothing that opening or searching needs is refused there, and one worker survives them all."""
    outside = InProcessExaminer(load_checks().checks, EngineLimits())
    pool = SandboxPool(SandboxSettings())
    await pool.start()
    try:
        workers = pool.pids
        for name, trick in TRICKS.items():
            expected = await outside.examine(io.BytesIO(trick.make()), SUBJECT)
            found = await pool.examine(io.BytesIO(trick.make()), SUBJECT)
            assert (name, expected.findings, expected.unread) == (name, found.findings, found.unread)
        assert workers == pool.pids
    finally:
        await pool.close()
