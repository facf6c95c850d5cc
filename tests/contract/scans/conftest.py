"""Every implementation of the memory of scans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import KINDS, new_database
from wharfinger_daemon.scanning.memory import MemoryScanRecords
from wharfinger_daemon.scanning.ports import ScanRecords
from wharfinger_daemon.storage.scans import SqlScanRecords


@pytest.fixture(params=["memory", *KINDS])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ScanRecords]:
    if request.param == "memory":
        yield MemoryScanRecords()
        return
    with new_database(request.param, request, tmp_path) as database:
        yield SqlScanRecords(database)
