"""Scanning: seconds an archive and MB/s, against the floor, which is inflating everything and searching literals in it.

The archives are real wheels, fetched by pip into a folder that is kept (``.bench/wheels``), and one wide wheel that is
made of their modules (``.bench/wide``). Nothing of them is run. Each round has a new worker, which remembers
nothing, and scans everything twice: as it is the first time, and as it is when a release repeats files.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isal import isal_zlib

from bench.table import Aim, Report, Table
from wharfinger_daemon.bootstrap import open_sandbox
from wharfinger_daemon.cli.scan import answer_for
from wharfinger_daemon.config import ScanSettings
from wharfinger_daemon.scanning.ports import Examiner

FOLDER = Path(__file__).parents[1] / ".bench" / "wheels"
WIDE = FOLDER.parent / "wide" / "wide-1.0-py3-none-any.whl"
WIDE_MODULES = 50_000
WIDE_BYTES = 67_000_000
WIDE_ROUNDS = 2
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


@dataclass
class Seconds:
    """The best of all rounds, by archive; and what a worker's memory reached, in MiB."""

    floor: dict[Path, float] = field(default_factory=dict)
    first: dict[Path, float] = field(default_factory=dict)
    again: dict[Path, float] = field(default_factory=dict)
    peak_mib: float = 0.0

    def ratios(self, ours: dict[Path, float], among: list[Path]) -> list[float]:
        """Ours as multiples of the floor, in order of size."""
        return sorted(ours[archive] / self.floor[archive] for archive in among)


def run(rounds: int) -> Report:
    """Measures seconds an archive, and returns packed megabytes a second, and ratios of seconds."""
    wheels = _wheels()
    seconds = Seconds()
    for number in range(rounds):
        archives = [*wheels, _wide_wheel(wheels)] if number < WIDE_ROUNDS else wheels
        asyncio.run(_round(archives, seconds))
    aims = [
        Aim("median of the wheels, times the floor", statistics.median(_first(seconds, wheels)), 2, at_least=False),
        Aim("95th percentile, times the floor", _percentile(_first(seconds, wheels), 0.95), 4, at_least=False),
        Aim("wide wheel, times the floor", _first(seconds, [WIDE])[0], 2, at_least=False),
        Aim("peak memory of a worker, parts of 512 MiB", seconds.peak_mib / 512, 1, at_least=False),
    ]
    tables = [
        _table(f"Scanning {len(wheels)} wheels, {_megabytes(wheels):.1f} MB packed", wheels, seconds),
        _table(f"Scanning a wheel of {WIDE_MODULES:,} modules, {_megabytes([WIDE]):.1f} MB packed", [WIDE], seconds),
    ]
    return Report(tables, aims)


def _first(seconds: Seconds, archives: list[Path]) -> list[float]:
    return seconds.ratios(seconds.first, archives)


def _percentile(ordered: list[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def _megabytes(archives: list[Path]) -> float:
    return sum(archive.stat().st_size for archive in archives) / 1e6


def _table(title: str, archives: list[Path], seconds: Seconds) -> Table:
    rows = {
        "inflate and search literals": seconds.floor,
        "wharfinger scan, one worker, first time": seconds.first,
        "the same archives again": seconds.again,
    }
    megabytes = _megabytes(archives)
    table = Table(title, "MB", {name: megabytes / sum(row[one] for one in archives) for name, row in rows.items()})
    for name, row in list(rows.items())[1:]:
        ratios = seconds.ratios(row, archives)
        table.notes.append(
            f"{name}: times the floor, median {statistics.median(ratios):.1f}, "
            f"95th percentile {_percentile(ratios, 0.95):.1f}, largest {ratios[-1]:.1f}"
        )
    table.notes.append(f"peak memory of a worker: {seconds.peak_mib:.0f} MiB")
    return table


async def _round(archives: list[Path], seconds: Seconds) -> None:
    for archive in archives:
        started = time.perf_counter()
        _floor(archive)
        _best(seconds.floor, archive, started)
    async with open_sandbox(ScanSettings()) as examiner:
        # Whatever is done once only is not counted: workers live long.
        await _ours(Path(__file__), examiner)
        for best in (seconds.first, seconds.again):
            for archive in archives:
                started = time.perf_counter()
                await _ours(archive, examiner)
                _best(best, archive, started)
        seconds.peak_mib = max(seconds.peak_mib, _peak_mib())


def _best(row: dict[Path, float], archive: Path, started: float) -> None:
    taken = time.perf_counter() - started
    row[archive] = min(taken, row.get(archive, taken))


def _peak_mib() -> float:
    """The largest of this program's children; each is a worker."""
    children = [
        child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()
    ]
    peaks = [0]
    for child in children:
        lines = Path(f"/proc/{child}/status").read_text().splitlines()
        peaks += [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return max(peaks) / 1024


def _wide_wheel(wheels: list[Path]) -> Path:
    """Modules of the wheels over and over, each with a comment of its own so that no two are the same."""
    if not WIDE.exists():
        sources = []
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                sources += [archive.read(one) for one in archive.infolist() if one.filename.endswith(".py")]
        WIDE.parent.mkdir(parents=True, exist_ok=True)
        unfinished = WIDE.with_suffix(".part")
        _write_wide(unfinished, _smallest(sources))
        unfinished.replace(WIDE)
    return WIDE


def _smallest(sources: list[bytes]) -> list[bytes]:
    """As many of the smaller ones as give the wheel's size on average."""
    chosen: list[bytes] = []
    total = 0
    for source in sorted(sources, key=len):
        total += len(zlib.compress(source))
        chosen.append(source)
        if total / len(chosen) >= WIDE_BYTES / WIDE_MODULES:
            break
    return chosen


def _write_wide(path: Path, sources: list[bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, source in zip(range(WIDE_MODULES), itertools.cycle(sources), strict=False):
            archive.writestr(
                zipfile.ZipInfo(f"wide/p{number // 500}/m{number}.py"),
                b"# %d\n" % number + source,
                compress_type=zipfile.ZIP_DEFLATED,
            )
        archive.writestr("wide-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\n")


def _wheels() -> list[Path]:
    if not FOLDER.exists():
        command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--only-binary=:all:", "--dest", str(FOLDER), *PROJECTS], check=True)
    return sorted(FOLDER.glob("*.whl"))


def _floor(wheel: Path) -> None:
    for content in _inflated(wheel):
        for literal in LITERALS:
            content.find(literal)


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


async def _ours(wheel: Path, examiner: Examiner) -> None:
    answer = await answer_for(str(wheel), examiner)
    assert answer.verdict is not None, answer.error
