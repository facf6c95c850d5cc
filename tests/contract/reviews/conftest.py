"""Reviews on every kind of database, with and without an audit log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import KINDS, new_database
from tests.support.judged import Reviewing
from wharfinger_daemon.audit.leaf import Leaf
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.reviews import SqlReviewRecords
from wharfinger_daemon.storage.scans import SqlScanRecords


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with new_database(request.param, request, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(database: Database) -> Reviewing:
    told: list[Leaf] = []
    return Reviewing(database, SqlScanRecords(database), SqlReviewRecords(database, None, told.append), told)


@pytest.fixture
def logged(database: Database) -> Reviewing:
    reviews = SqlReviewRecords(database, Journal(database), lambda leaf: None)
    return Reviewing(database, SqlScanRecords(database), reviews)
