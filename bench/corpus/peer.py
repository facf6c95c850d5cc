"""guarddog on the same archives, where ``WHARFINGER_GUARDDOG_PYTHON`` names an interpreter that has it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.corpus.archives import Archive
from bench.corpus.measures import Share

PROGRAM = Path(__file__).parents[1] / "programs" / "guarddog_scores.py"
VARIABLE = "WHARFINGER_GUARDDOG_PYTHON"

SUSPICIOUS = 5.0
"""The score at which guarddog recommends to look."""


@dataclass(frozen=True)
class PeerScore:
    """What guarddog says of one archive; ``score`` is None if it could not."""

    name: str
    score: float | None
    seconds: float


def sampled(archives: Sequence[Archive], malicious: int, clean: int) -> list[Archive]:
    """So many of each, those whose name has the smallest digest: the same whenever it is asked for."""
    order = sorted(archives, key=lambda archive: hashlib.sha256(archive.name.encode()).digest())
    return [a for a in order if a.malicious][:malicious] + [a for a in order if not a.malicious][:clean]


def scores(archives: Sequence[Archive], environment: Mapping[str, str] = os.environ) -> list[PeerScore] | None:
    """One after another in one long-lived process; None where no guarddog is named."""
    interpreter = environment.get(VARIABLE, "")
    if not interpreter:
        return None
    with _process(interpreter) as process:
        return [_asked(process, archive) for archive in archives]


def share(found: Sequence[PeerScore], least: float = SUSPICIOUS) -> Share:
    """Of all archives, failures among them, how many reach the score."""
    return Share(sum(each.score is not None and each.score >= least for each in found), len(found))


@contextmanager
def _process(interpreter: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [interpreter, "-I", str(PROGRAM)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _asked(process: subprocess.Popen[bytes], archive: Archive) -> PeerScore:
    assert process.stdin is not None
    assert process.stdout is not None
    content = archive.read()
    header = json.dumps({"name": archive.name, "size": len(content)})
    process.stdin.write(header.encode() + b"\n" + content)
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    return PeerScore(archive.name, answer.get("score"), float(answer.get("seconds", 0.0)))
