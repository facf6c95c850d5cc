"""Every implementation of the memory of scans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wharfinger_daemon.scanning.memory import MemoryScanRecords
from wharfinger_daemon.scanning.ports import ScanRecords
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.migrate import upgrade
from wharfinger_daemon.storage.scans import SqlScanRecords


@pytest.fixture(params=["memory", "sqlite"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ScanRecords]:
    if request.param == "memory":
        yield MemoryScanRecords()
        return
    database = Database(f"sqlite:///{tmp_path / 'scans.db'}")
    upgrade(database)
    yield SqlScanRecords(database)
    database.close()
