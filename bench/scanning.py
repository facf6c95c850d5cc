"""Scanning: seconds an archive and MB/s, against the floor, which is inflating everything and searching literals in it.

The archives are real wheels, fetched by pip into a folder that is kept (``.bench/wheels``). Nothing of them is run.
"""

from __future__ import annotations

import asyncio
import statistics
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib

from bench.table import Table, best_rates
from wharfinger_daemon.bootstrap import open_sandbox
from wharfinger_daemon.cli.scan import answer_for
from wharfinger_daemon.config import ScanSettings
from wharfinger_daemon.scanning.ports import Examiner

FOLDER = Path(__file__).parents[1] / ".bench" / "wheels"
# Widely used, of all sizes, none of them compiled for this interpreter alone.
PROJECTS = [
    "urllib3",
    "six",
    "rich",
    "pygments",
    "packaging",
    "attrs",
    "django",
    "pytest",
    "sphinx",
    "starlette",
    "networkx",
]
LITERALS = [
    b"exec(",
    b"eval(",
    b"base64",
    b"subprocess",
    b"os.system",
    b"socket",
    b"marshal",
    b"powershell",
    b"webhook",
]


def run(rounds: int) -> Table:
    """Measures, and returns packed megabytes a second."""
    wheels = _wheels()
    megabytes = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    seconds: dict[str, list[float]] = {"floor": [], "ours": []}

    async def measure() -> dict[str, float]:
        async with open_sandbox(ScanSettings()) as examiner:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                None,
                lambda: best_rates(
                    {
                        "inflate and search literals": lambda: megabytes / _floor(wheels, seconds["floor"]),
                        "wharfinger scan, one worker": lambda: (
                            megabytes / _ours(wheels, examiner, loop, seconds["ours"])
                        ),
                    },
                    rounds,
                ),
            )

    table = Table(f"Scanning {len(wheels)} wheels, {megabytes:.1f} MB packed", "MB", asyncio.run(measure()))
    for name, times in seconds.items():
        table.notes.append(
            f"{name}: median {statistics.median(times) * 1000:.1f} ms, largest {max(times) * 1000:.0f} ms an archive"
        )
    return table


def _wheels() -> list[Path]:
    if not FOLDER.exists():
        command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--only-binary=:all:", "--dest", str(FOLDER), *PROJECTS], check=True)
    return sorted(FOLDER.glob("*.whl"))


def _floor(wheels: list[Path], seconds: list[float]) -> float:
    begun = time.perf_counter()
    for wheel in wheels:
        started = time.perf_counter()
        for content in _inflated(wheel):
            for literal in LITERALS:
                content.find(literal)
        seconds.append(time.perf_counter() - started)
    return time.perf_counter() - begun


def _inflated(wheel: Path) -> Iterator[bytes]:
    # ISA-L straight on the stored bytes: the fastest way through that there is in Python.
    stored = wheel.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name_length, extra_length = struct.unpack_from("<HH", stored, member.header_offset + 26)
            start = member.header_offset + 30 + name_length + extra_length
            content = stored[start : start + member.compress_size]
            deflated = member.compress_type == zipfile.ZIP_DEFLATED
            yield isal_zlib.decompress(content, wbits=-15) if deflated else content


def _ours(wheels: list[Path], examiner: Examiner, loop: asyncio.AbstractEventLoop, seconds: list[float]) -> float:
    begun = time.perf_counter()
    for wheel in wheels:
        started = time.perf_counter()
        answer = asyncio.run_coroutine_threadsafe(answer_for(str(wheel), examiner), loop).result()
        assert answer.verdict is not None, answer.error
        seconds.append(time.perf_counter() - started)
    return time.perf_counter() - begun
