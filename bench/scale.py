"""A repository as large as PyPI's, by the real commands: import, the daemon at rest, renewal of all bins, publishing.

The rows are those of ``uploads``. Without more words one million of them come into 16,384 bins; ``--targets 20000000``
is the full run, which takes hours and 30 GB in the folder for temporary files.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from bench import publishing
from bench.floors import floor
from bench.table import Costs, Report
from bench.uploads import BINS, Uploads, hexadecimal, path_of
from tests.support.daemon_process import DaemonProcess, descendants, place_home, run_cli

_RENEWING = ("-m", "bench.programs.renew_everything")
_CHUNK = 50_000


@dataclass(frozen=True)
class Used:
    """What a command took.

    Attributes:
        seconds: by the clock.
        processor: seconds, of it and what it began.
        peak: bytes of the largest of its processes.
        output: what it printed.
    """

    seconds: float
    processor: float
    peak: int
    output: str


def run(rounds: int, targets: int = 1_000_000) -> Report:
    """Measures, and returns costs by the clock."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pristine, home = Path(folder) / "pristine", Path(folder) / "home"
        made = run_cli("init", "--development", "--home", str(pristine), "--bins", str(BINS.number))
        assert made.returncode == 0, made.stderr
        ports = place_home(pristine, home)
        signed = publishing.hsm(home, stack)
        listed = Path(folder) / "targets.jsonl"
        _tell("writing the lines")
        _write(listed, targets)
        _tell("importing")
        importing = _command("-m", "wharfinger_daemon", "targets", "import", str(listed), "--config", _config(home))
        _tell(f"imported in {importing.seconds:.0f} s; the same rows barely")
        parts = {"rows in a bare table": _bare_rows(listed, Path(folder) / "bare.db")}
        parts |= _floor_of_bins(home, signed)
        resting = _at_rest(DaemonProcess(home, ports))
        _tell("renewing all bins")
        renewing = _command(*_RENEWING, str(home))
        renewal_parts = _floor_of_bins(home, signed)
        _tell("publishing")
        published = asyncio.run(publishing.measure(home, Uploads(first=targets), rounds, signed))
    renewed = float(renewing.output) * 1e6
    tables = [
        Costs(
            f"wharfinger targets import of {targets:,} rows into {BINS.number:,} bins",
            {name: seconds * 1e6 for name, seconds in parts.items()},
            {"ours": importing.seconds * 1e6},
            [f"{importing.processor:.0f} s of the processor; at most {_mebibytes(importing.peak)} MiB in a process."],
        ),
        Costs(
            f"All {BINS.number:,} bins anew in one publication, with {targets:,} targets",
            {name: seconds * 1e6 for name, seconds in renewal_parts.items()},
            {"ours": renewed},
            [f"At most {_mebibytes(renewing.peak)} MiB in a process."],
        ),
    ]
    return Report([*tables, resting, *published.tables], published.aims)


@dataclass(frozen=True)
class AtRest:
    """A daemon that nobody calls.

    Attributes:
        seconds: from its start until it is ready.
        proportional: bytes that each kind of process has, shared ones divided among those that share them (Pss).
    """

    seconds: float
    proportional: dict[str, int]

    def as_json(self) -> dict[str, object]:
        return {"title": "The daemon at rest", "start_seconds": round(self.seconds, 1), "bytes": self.proportional}

    def as_text(self) -> str:
        each = ", ".join(f"{name} {_mebibytes(size)} MiB" for name, size in self.proportional.items())
        total = _mebibytes(sum(self.proportional.values()))
        return f"The daemon at rest: ready after {self.seconds:.1f} s; {each}; {total} MiB together.\n"


def _at_rest(daemon: DaemonProcess) -> AtRest:
    begun = time.perf_counter()
    daemon.start()
    seconds = time.perf_counter() - begun
    try:
        assert daemon.process is not None
        workers = daemon.children()
        others = set(descendants(daemon.process.pid)).difference(*workers.values())
        kinds = {"daemon": [daemon.process.pid], **workers, "others": sorted(others)}
        return AtRest(seconds, {kind: sum(map(_proportional, pids)) for kind, pids in kinds.items()})
    finally:
        daemon.stop()


def _proportional(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("Pss:")]
    return int(line.split()[1]) * 1024


def _command(*arguments: str) -> Used:
    """Runs a program of ours to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    output = process.stdout.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{arguments} ended with {process.returncode}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Used(time.perf_counter() - begun, processor, used.ru_maxrss * 1024, output)


def _write(place: Path, targets: int) -> None:
    with place.open("w") as file:
        for number in range(targets):
            path = path_of(number)
            file.write(f'{{"path":"{path}","length":123456,"hashes":{{"sha256":"{hexadecimal(path)}"}}}}\n')


def _bare_rows(listed: Path, place: Path) -> float:
    """Seconds that SQLite takes for the same rows, as they come, in a table of the same shape; durable in chunks."""
    begun = time.perf_counter()
    with closing(sqlite3.connect(place)) as database, listed.open() as file:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(
            "CREATE TABLE targets (repository, bin, path, length, hashes, PRIMARY KEY (repository, bin, path))"
            " WITHOUT ROWID"
        )
        rows = _rows(file)
        while chunk := list(itertools.islice(rows, _CHUNK)):
            with database:
                database.executemany("INSERT INTO targets VALUES (?, ?, ?, ?, ?)", sorted(chunk))
    place.unlink()
    return time.perf_counter() - begun


def _rows(lines: Iterator[str]) -> Iterator[tuple[str, str, str, int, str]]:
    for line in lines:
        row = json.loads(line)
        yield "0" * 64, BINS.role_for(row["path"]), row["path"], row["length"], json.dumps(row["hashes"])


def _floor_of_bins(home: Path, signed: Callable[[int], float]) -> dict[str, float]:
    """Seconds to hash, sign and write every bin as it is, some at a time."""
    newest: dict[str, tuple[int, Path]] = {}
    for file in (home / "metadata").glob("*.bins-*.json"):
        version, role, _ = file.name.split(".")
        newest[role] = max(newest.get(role, (0, file)), (int(version), file))
    places = [place for _, place in newest.values()]
    parts: dict[str, float] = {}
    for start in range(0, len(places), 128):
        contents = [place.read_bytes() for place in places[start : start + 128]]
        for name, seconds in floor(contents, signed, home / "floor-of-bins").items():
            parts[name] = parts.get(name, 0) + seconds
    return parts


def _config(home: Path) -> str:
    return str(home / "config.toml")


def _mebibytes(size: int) -> int:
    return round(size / 2**20)


def _tell(what: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {what}", file=sys.stderr)
