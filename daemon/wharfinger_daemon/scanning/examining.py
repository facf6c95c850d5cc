"""One examination, whatever the content does to it."""

from __future__ import annotations

import asyncio
import re
from typing import BinaryIO

from wharfinger_daemon.scanning.model import Examination, Finding, Subject, Unread
from wharfinger_daemon.scanning.ports import ContentFailure, Examiner
from wharfinger_daemon.scanning.scorecard import ENGINE_CHECK, SCORECARD_VERSION


async def examined(examiner: Examiner, artifact: BinaryIO, subject: Subject) -> Examination:
    """What the examiner reports; content that makes every examination fail is a finding itself, and never benign.

    Raises:
        UnavailableError: nobody can examine now; this says nothing about the content.
    """
    started = asyncio.get_running_loop().time()
    try:
        return await examiner.examine(artifact, subject)
    except ContentFailure as failure:
        return _content_failed(failure.why, asyncio.get_running_loop().time() - started)


def _content_failed(why: str, seconds: float) -> Examination:
    finding = Finding(
        check=ENGINE_CHECK,
        check_version=SCORECARD_VERSION,
        rule="content-failure-" + re.sub(r"[^a-z0-9]+", "-", why.lower()).strip("-"),
        message="The content of this artifact makes every examination of it fail, in the same way.",
    )
    unread = Unread(member="", why=f"the whole artifact, because its examination ended with: {why}")
    return Examination(findings=(finding,), unread=(unread,), seconds=seconds)
