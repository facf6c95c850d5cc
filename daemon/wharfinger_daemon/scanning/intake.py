"""The border where what a scan worker says becomes ours.

A worker reads hostile bytes, and may be taken over by them. It can then say anything; here it is kept from saying it at
any length, or in characters that a database, a log or a wire message cannot carry.
"""

from __future__ import annotations

import math
from dataclasses import replace

from wharfinger_daemon.scanning.model import Examination, Finding, Unread

MAX_FINDINGS = 1000
MAX_UNREAD = 100

_NAME_CHARACTERS = 64
_RULE_CHARACTERS = 128
_TEXT_CHARACTERS = 1000


def accepted(examination: Examination) -> Examination:
    """The examination with printable, bounded texts, and no more findings than anybody reads.

    What is cut away never makes a scan look better: too many findings are named as unread.
    """
    findings = tuple(_finding(finding) for finding in examination.findings[:MAX_FINDINGS])
    unread = tuple(Unread(member=_text(part.member), why=_text(part.why)) for part in examination.unread[:MAX_UNREAD])
    if len(examination.findings) > MAX_FINDINGS:
        unread += (Unread(member="", why=f"more than {MAX_FINDINGS} findings"),)
    seconds = examination.seconds if math.isfinite(examination.seconds) and examination.seconds >= 0 else 0.0
    return Examination(findings=findings, unread=unread, seconds=seconds)


def _finding(finding: Finding) -> Finding:
    return replace(
        finding,
        check=_text(finding.check, _NAME_CHARACTERS),
        check_version=_text(finding.check_version, _NAME_CHARACTERS),
        rule=_text(finding.rule, _RULE_CHARACTERS),
        message=_text(finding.message),
        member=_text(finding.member),
        line=min(max(finding.line, 0), 2**31 - 1),
        excerpt=_text(finding.excerpt),
        weight=0.0,
    )


def _text(text: str, limit: int = _TEXT_CHARACTERS) -> str:
    if text.isprintable() and len(text) <= limit:
        return text
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text[:limit]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
