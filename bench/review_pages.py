"""Review pages: the queue and a verdict at a million verdicts, against the queue's page with nothing in it.

Each page is asked for over HTTP, one request after the other, and its 95th percentile counts. SQLite, whose file is
read from memory. Of the million verdicts 3 % are not benign, of which people decided about a third; one project has
10,000 that wait.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import urllib3
from sqlalchemy import insert

from bench.table import Aim, Costs, Report
from tests.support.review_server import NOW, ReviewServer, running_review_server
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.storage import migrate
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.scan_schema import findings, scans

_VERDICTS = 1_000_000
_FLOOD = 10_000
_REQUESTS = 60
_ROWS_AT_ONCE = 20_000
_FINDINGS_OF_AN_ALARM = 5
_EMPTY = "the queue, empty"


def run(rounds: int) -> Report:
    """Measures, and returns microseconds of the 95th percentile."""
    with tempfile.TemporaryDirectory(prefix="wharfinger-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        empty = stack.enter_context(_server(folder / "empty.db", 0))
        full = stack.enter_context(_server(folder / "full.db", _VERDICTS))
        alarm = _scan_id(100)
        pages = {
            _EMPTY: (empty, ""),
            "the queue": (full, ""),
            "the queue's tenth page": (full, "?after=40.0%20project-00300"),
            "the queue, one check": (full, "?check=eager-code"),
            "the queue, threats of high confidence": (full, "?classification=threat&confidence=high"),
            "the queue, a search in all verdicts": (full, "?state=any&q=project-01"),
            "what people decided": (full, "?state=benign"),
            "a verdict": (full, f"verdicts/{alarm}"),
            "a verdict of the project with 10,000": (full, f"verdicts/{_scan_id(_VERDICTS + 7)}"),
            "checks": (full, "checks"),
        }
        best: dict[str, float] = {}
        for _ in range(rounds):
            for page, (server, path) in pages.items():
                best[page] = min(best.get(page, float("inf")), _p95(server, path))
    floor = {_EMPTY: best.pop(_EMPTY)}
    table = Costs(f"Review pages at {_VERDICTS:,} verdicts, 95th percentile", floor, best)
    aims = [Aim(page, table.ratio(page), 10, at_least=False) for page in ("the queue", "a verdict")]
    return Report([table], aims)


def _p95(server: ReviewServer, path: str) -> float:
    cookie = server.cookie(Role.VIEWER)
    times = []
    host, _, port = server.address.partition(":")
    with urllib3.HTTPConnectionPool(host, int(port)) as pool:
        for _ in range(_REQUESTS):
            begun = time.perf_counter()
            answer = pool.request("GET", f"/review/{path}", headers={"Cookie": f"{cookie['name']}={cookie['value']}"})
            times.append(time.perf_counter() - begun)
            assert answer.status == 200, answer.data
    return statistics.quantiles(times, n=20)[-1] * 1e6


@contextlib.contextmanager
def _server(file: Path, verdicts: int) -> Iterator[ReviewServer]:
    with closing(Database(f"sqlite:///{file}")) as database:
        migrate.upgrade(database)
        if verdicts:
            _fill(database, verdicts)
    with running_review_server(file) as server:
        yield server


def _fill(database: Database, verdicts: int) -> None:
    rows = range(verdicts + _FLOOD)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        numbers = rows[first : first + _ROWS_AT_ONCE]
        alarms = [number for number in numbers if _is_alarm(number)]
        with database.transaction(synced=False) as connection:
            connection.execute(insert(scans), [_scan(number) for number in numbers])
            if alarms:
                connection.execute(insert(findings), [row for number in alarms for row in _findings(number)])


def _is_alarm(number: int) -> bool:
    return number >= _VERDICTS or number % 100 < 3


def _scan_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number * 2654435761 % 16**12:012x}"


def _scan(number: int) -> dict[str, Any]:
    alarm, flood = _is_alarm(number), number >= _VERDICTS
    score = 4.0 + number // 100 % 73 / 2 if alarm else number % 7 / 2
    benign = "benign"
    at = NOW - timedelta(seconds=number * 31 % (90 * 86400))
    project = "flood" if flood else f"project-{number // 100 % 30000 * 10 + number % 10:05}"
    return {
        "scan_id": _scan_id(number),
        "subject_kind": "file",
        "project": project,
        "version": f"{number}.0",
        "filename": f"{project}-{number}.0.tar.gz",
        "sha256": f"{number:064x}",
        "rule_set": "0" * 64,
        "state": "finished",
        "classification": benign if not alarm else "threat" if score >= 10 else "indeterminate",
        "confidence": ("low", "medium", "high")[number // 100 % 3],
        "score": score,
        "error": "",
        "seconds": 0.1,
        "submitted_at": at,
        "finished_at": at,
        "decision": (benign, "threat")[number // 100 % 2] if alarm and not flood and number % 3 == 0 else None,
    }


def _findings(number: int) -> list[dict[str, Any]]:
    return [
        {
            "scan_id": _scan_id(number),
            "check_name": ("eager-code", "yara-rules", "archive-structure")[place % 3],
            "check_version": "1",
            "rule": f"rule-{place}",
            "member": "sample-1.0/setup.py",
            "line": place + 1,
            "excerpt": "exec(base64.b64decode('cHJpbnQoMSk='))",
            "message": "Text that is decoded is executed when the package is installed.",
            "weight": 2.0,
        }
        for place in range(_FINDINGS_OF_AN_ALARM)
    ]
