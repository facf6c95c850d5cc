"""What all checks found in each archive, without any weight; kept, so that a run goes on where the last one ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from bench.corpus.archives import Archive
from wharfinger_daemon import scanning
from wharfinger_daemon.bootstrap import open_sandbox
from wharfinger_daemon.config import ScanSettings
from wharfinger_daemon.scanning.examining import examined
from wharfinger_daemon.scanning.model import Examination, Finding, Unread
from wharfinger_daemon.scanning.ports import Examiner

# Weights change nothing of what is found.
_JUDGING = frozenset({"weights.py", "fitted_weights.py", "scorecard.py", "popular.py"})


@dataclass(frozen=True)
class Observation:
    """What was found in one archive.

    Attributes:
        rules: how often each ``check/rule`` was found.
        unread: parts that were not examined.
        seconds: in the worker.
        size: bytes, packed.
    """

    label: str
    cluster: str
    name: str
    rules: dict[str, int]
    unread: int
    seconds: float
    size: int

    @property
    def malicious(self) -> bool:
        return self.label == "malicious"

    @property
    def examination(self) -> Examination:
        """As the scorecard takes it; places and messages are gone."""
        findings = tuple(
            Finding(check=check, check_version="", rule=rule, message="")
            for check, _, rule in (key.partition("/") for key in self.rules)
        )
        return Examination(findings, tuple(Unread("", "kept") for _ in range(self.unread)), self.seconds)


def code_version() -> str:
    """A digest of the code that decides what is found: checks, engine and openers."""
    package = Path(scanning.__file__).parents[1]
    digest = hashlib.sha256()
    for folder in (package / "checks", package / "scanning"):
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".py", ".yar", ".txt") and file.name not in _JUDGING:
                digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


class Memory:
    """Observations of one version of the code, one JSON object a line."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{code_version()}.jsonl"
        self._known: dict[tuple[str, str], dict[str, object]] = {}
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                row = json.loads(line)
                self._known[row["label"], row["name"]] = row

    def get(self, archive: Archive) -> Observation | None:
        row = self._known.get((archive.label, archive.name))
        return None if row is None else Observation(**row)  # type: ignore[arg-type]

    def add(self, observation: Observation) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(vars(observation)) + "\n")


async def observe(archives: Sequence[Archive], memory: Memory, workers: int) -> list[Observation]:
    """Scans what the memory does not have, in sandboxed workers, and returns everything in the order asked for."""
    found = {(archive.label, archive.name): memory.get(archive) for archive in archives}
    waiting = [archive for archive in archives if found[archive.label, archive.name] is None]
    if waiting:
        async with open_sandbox(ScanSettings(workers=workers)) as examiner:
            count = 0
            async for observation in _scanned(waiting, examiner, workers):
                memory.add(observation)
                found[observation.label, observation.name] = observation
                count += 1
                if count % 100 == 0:
                    print(f"{count} of {len(waiting)} scanned", file=sys.stderr)
    return [observation for observation in found.values() if observation is not None]


async def _scanned(archives: Iterable[Archive], examiner: Examiner, workers: int) -> AsyncIterator[Observation]:
    waiting = iter(archives)
    done: asyncio.Queue[Observation | None] = asyncio.Queue()

    async def work() -> None:
        for archive in waiting:
            await done.put(await _observed(archive, examiner))
        await done.put(None)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
        ended = 0
        while ended < workers:
            observation = await done.get()
            if observation is None:
                ended += 1
            else:
                yield observation


async def _observed(archive: Archive, examiner: Examiner) -> Observation:
    content = await asyncio.to_thread(archive.read)
    with _in_memory(content) as file:
        examination = await examined(examiner, file, archive.subject)
    rules = Counter(f"{finding.check}/{finding.rule}" for finding in examination.findings)
    return Observation(
        label=archive.label,
        cluster=archive.cluster,
        name=archive.name,
        rules=dict(sorted(rules.items())),
        unread=len(examination.unread),
        seconds=round(examination.seconds, 4),
        size=len(content),
    )


def _in_memory(content: bytes) -> BufferedRandom:
    """A file that is on no disk, since it may be malicious; workers are handed a descriptor of it."""
    file = os.fdopen(os.memfd_create("archive"), "w+b")
    file.write(content)
    file.flush()
    file.seek(0)
    return file
