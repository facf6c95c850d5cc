"""``wharfinger scan``."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from wharfinger_daemon.bootstrap import open_sandbox
from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, EXIT_FOUND_SOMETHING, json_option, print_json
from wharfinger_daemon.cli.report import Report
from wharfinger_daemon.config import ScanSettings
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.scanning.examining import examined
from wharfinger_daemon.scanning.model import Classification, Subject, SubjectKind, Verdict
from wharfinger_daemon.scanning.ports import Examiner
from wharfinger_daemon.scanning.scorecard import Scorecard


@dataclass(frozen=True)
class Answer:
    """What came of one path. Without a verdict there is an error."""

    path: str
    sha256: str = ""
    verdict: Verdict | None = None
    error: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """The object that ``--json`` prints."""
        verdict = self.verdict
        return {
            "path": self.path,
            "sha256": self.sha256,
            "classification": None if verdict is None else verdict.classification.label,
            "confidence": None if verdict is None else verdict.confidence.label,
            "score": None if verdict is None else verdict.score,
            "findings": [
                {
                    "check": finding.check,
                    "rule": finding.rule,
                    "member": finding.member,
                    "line": finding.line,
                    "message": finding.message,
                    "weight": finding.weight,
                    "excerpt": finding.excerpt,
                }
                for finding in (verdict.findings if verdict is not None else ())
            ],
            "error": self.error,
            "seconds": round(self.seconds, 6),
        }


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Sandboxed processes.")
@click.option(
    "--allow-weaker-sandbox", is_flag=True, help="Scan even where the kernel lacks seccomp or Landlock, and say so."
)
@json_option
def scan(paths: tuple[str, ...], workers: int, allow_weaker_sandbox: bool, as_json: bool) -> None:
    """Scan artifacts for malware, without a daemon.

    PATH is a file, a folder (all files beneath it), or - to read paths from standard input, one a line, each answered
    at once. Nothing of an artifact is ever run or unpacked to disk.

    Ends with status 0 if nothing was found, 1 if there was a threat, 2 if something could not be scanned.
    """
    required = not allow_weaker_sandbox
    settings = ScanSettings(workers=workers, require_seccomp=required, require_landlock=required)
    sys.exit(asyncio.run(_scan(paths, settings, as_json)))


async def _scan(paths: Sequence[str], settings: ScanSettings, as_json: bool) -> int:
    report = Report()
    answers: list[Answer] = []
    async with open_sandbox(settings) as examiner:
        slots = asyncio.Semaphore(settings.workers)
        running: set[asyncio.Task[None]] = set()

        async def one(path: str) -> None:
            try:
                answer = await answer_for(path, examiner)
            finally:
                slots.release()
            answers.append(answer)
            if as_json:
                print_json(answer.as_json())
            else:
                report.show(answer.path, answer.verdict, answer.error)

        async for path in _each_path(paths):
            await slots.acquire()
            task = asyncio.create_task(one(path))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
    if not as_json:
        report.close([answer.verdict for answer in answers])
    return _status(answers)


async def answer_for(path: str, examiner: Examiner) -> Answer:
    """Scans one file. Whatever goes wrong is in the answer."""
    started = time.perf_counter()
    try:
        with Path(path).open("rb") as artifact:  # noqa: ASYNC230  # a one-shot program
            sha256 = hashlib.file_digest(artifact, "sha256").hexdigest()
            artifact.seek(0)
            verdict = Scorecard().judge(await examined(examiner, artifact, _subject(Path(path).name)))
    except OSError as error:
        return Answer(path, error=f"The file cannot be read: {error.strerror}.")
    except WharfingerError as error:
        return Answer(path, error=error.message, seconds=time.perf_counter() - started)
    return Answer(path, sha256, verdict, seconds=time.perf_counter() - started)


def _subject(filename: str) -> Subject:
    # What a file name says of project and version (PEP 427, PEP 625); checks must not trust it.
    stem = filename.removesuffix(".whl").removesuffix(".zip").removesuffix(".gz").removesuffix(".tar")
    project, _, rest = stem.partition("-")
    return Subject(SubjectKind.FILE, project, rest.partition("-")[0], filename)


async def _each_path(paths: Sequence[str]) -> AsyncIterator[str]:
    for path in paths:
        if path == "-":
            while line := await asyncio.to_thread(sys.stdin.readline):
                if line.strip():
                    yield line.rstrip("\n")
        elif Path(path).is_dir():
            for file in sorted(Path(path).rglob("*")):
                if file.is_file():
                    yield str(file)
        else:
            yield path


def _status(answers: Sequence[Answer]) -> int:
    if any(answer.verdict and answer.verdict.classification is Classification.THREAT for answer in answers):
        return EXIT_FOUND_SOMETHING
    return EXIT_COULD_NOT_RUN if any(answer.verdict is None for answer in answers) else 0
