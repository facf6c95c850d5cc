"""One small durable write, in the folder given: as SQLite commits a row, and as ``fdatasync`` after an append.

    python durable_write.py FOLDER

Reads lines ``{"count": N}`` from standard input; answers each with the median seconds of one write of each kind.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

folder = Path(sys.argv[1])
database = sqlite3.connect(folder / "durable.db", isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = FULL")
database.execute("CREATE TABLE writes (content BLOB)")
appended = os.open(folder / "durable.bin", os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def commit() -> None:
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO writes VALUES (?)", (bytes(300),))
    database.execute("COMMIT")


def append() -> None:
    os.write(appended, bytes(300))
    os.fdatasync(appended)


def median(write: Callable[[], None], count: int) -> float:
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        write()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


for line in sys.stdin:
    wanted = json.loads(line)["count"]
    print(json.dumps({"commit": median(commit, wanted), "append": median(append, wanted)}), flush=True)
