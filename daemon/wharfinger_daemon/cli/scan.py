"""``wharfinger scan``."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader

import click

from wharfinger_daemon.bootstrap import open_sandbox
from wharfinger_daemon.cli.artifact_paths import UnreadableFolder, each_path, open_artifact
from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, EXIT_FOUND_SOMETHING, json_option, print_json
from wharfinger_daemon.cli.report import Report
from wharfinger_daemon.config import ScanSettings
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.scanning.examining import examined
from wharfinger_daemon.scanning.model import Subject, SubjectKind, Verdict
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

    PATH is a file, a folder (all files beneath it; links to other folders are not followed), or - to read paths from
    standard input, one a line, each answered at once. Nothing of an artifact is ever run or unpacked to disk.

    Ends with status 0 if nothing was found, 1 if there was a threat, 2 if something could not be scanned.
    """
    required = not allow_weaker_sandbox
    settings = ScanSettings(workers=workers, require_seccomp=required, require_landlock=required)
    sys.exit(asyncio.run(_scan(paths, settings, as_json)))


async def _scan(paths: Sequence[str], settings: ScanSettings, as_json: bool) -> int:
    report = Report()
    counts: Counter[str] = Counter()

    def tell(answer: Answer) -> None:
        counts["error" if answer.verdict is None else answer.verdict.classification.label] += 1
        if as_json:
            print_json(answer.as_json())
        else:
            report.show(answer.path, answer.verdict, answer.error)

    async with open_sandbox(settings) as examiner:
        try:
            await _scan_each(paths, examiner, settings.workers, tell)
        except BaseExceptionGroup as group:
            # One of them is enough to say what went wrong; the others were cut short by it.
            raise group.exceptions[0] from None
    if not as_json:
        report.close(counts)
    return _status(counts)


async def _scan_each(paths: Sequence[str], examiner: Examiner, workers: int, tell: Callable[[Answer], None]) -> None:
    slots = asyncio.Semaphore(workers)

    async def one(path: str) -> None:
        try:
            tell(await answer_for(path, examiner))
        finally:
            slots.release()

    # If one fails for a reason that no answer can hold, so does the whole: an unscanned file must not pass for clean.
    async with asyncio.TaskGroup() as group:
        async for found in each_path(paths):
            if isinstance(found, UnreadableFolder):
                tell(Answer(found.path, error=f"The folder cannot be read: {found.why}."))
                continue
            await slots.acquire()
            group.create_task(one(found))


async def answer_for(path: str, examiner: Examiner) -> Answer:
    """Scans one file. Whatever is wrong with the file is in the answer."""
    started = time.perf_counter()
    try:
        with open_artifact(path) as artifact:
            sha256 = await asyncio.to_thread(_sha256, artifact)
            verdict = Scorecard().judge(await examined(examiner, artifact, _subject(path)))
    except OSError as error:
        return Answer(path, error=f"The file cannot be read: {error.strerror or error}.")
    except WharfingerError as error:
        return Answer(path, error=error.message, seconds=time.perf_counter() - started)
    return Answer(path, sha256, verdict, seconds=time.perf_counter() - started)


def _sha256(artifact: BufferedReader) -> str:
    digest = hashlib.file_digest(artifact, "sha256")
    artifact.seek(0)
    return digest.hexdigest()


def _subject(path: str) -> Subject:
    # What a file name says of project and version (PEP 427, PEP 625); checks must not trust it. It may be any bytes.
    filename = os.fsencode(os.path.basename(path)).decode("utf-8", errors="replace")  # noqa: PTH119
    stem = filename.removesuffix(".whl").removesuffix(".zip").removesuffix(".gz").removesuffix(".tar")
    project, _, rest = stem.partition("-")
    return Subject(SubjectKind.FILE, project, rest.partition("-")[0], filename)


def _status(counts: Counter[str]) -> int:
    if counts["threat"]:
        return EXIT_FOUND_SOMETHING
    return EXIT_COULD_NOT_RUN if counts["error"] else 0
