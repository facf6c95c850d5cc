"""The peer is asked over pipes, in a process of its own, about the same archives whenever it is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.corpus import archives, measures, peer

STAND_IN = """
import json, sys
while header := sys.stdin.buffer.readline():
    asked = json.loads(header)
    content = sys.stdin.buffer.read(asked["size"])
    answer = {"score": 7.0, "seconds": 0.5} if b"bad" in content else {"error": "ValueError"}
    print(json.dumps({"name": asked["name"], **answer}), flush=True)
"""


def archive(folder: Path, name: str, content: bytes, label: str = "popular") -> archives.Archive:
    file = folder / name
    file.write_bytes(content)
    return archives.Archive(label, name, str(file), name, archives.Files())


def test_each_archive_is_scored_and_a_failure_is_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    monkeypatch.setattr(peer, "PROGRAM", program)
    chosen = [archive(tmp_path, "a-1.tar.gz", b"bad"), archive(tmp_path, "b-1.tar.gz", b"good\nline")]
    found = peer.scores(chosen, {peer.VARIABLE: sys.executable})
    assert found is not None
    assert [7.0, None] == [each.score for each in found]
    assert measures.Share(1, 2) == peer.share(found)


def test_without_an_interpreter_nothing_is_scored() -> None:
    assert peer.scores([], {}) is None


def test_the_sample_does_not_depend_on_the_order(tmp_path: Path) -> None:
    chosen = [archive(tmp_path, f"{n}-1.tar.gz", b"x", "malicious" if n % 2 else "tail") for n in range(20)]
    sample = peer.sampled(chosen, 3, 4)
    assert sample == peer.sampled(chosen[::-1], 3, 4)
    assert (3, 4) == (sum(each.malicious for each in sample), sum(not each.malicious for each in sample))
