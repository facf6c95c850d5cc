"""Every implementation of the key records, to pass the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from tests.support.databases import KINDS, new_database
from wharfinger_daemon.audit.leaf import Leaf, read_leaf
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.keys.memory_records import MemoryKeyRecords
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.keys import SqlKeyRecords
from wharfinger_daemon.storage.schema import audit_leaves, metadata_roles


class RecordsInMemory:
    """What tests do to the records in memory from outside."""

    def __init__(self) -> None:
        self.records = MemoryKeyRecords()

    def leaves(self) -> list[Leaf]:
        return self.records.leaves

    def need(self, repository: str, keyids: list[str]) -> None:
        self.records.needed[repository] = {keyid: keyids.count(keyid) for keyid in keyids if keyid}


class RecordsInSql:
    """The same, on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.records = SqlKeyRecords(database, Journal(database))

    def leaves(self) -> list[Leaf]:
        def read(connection: Connection) -> list[bytes]:
            return list(connection.execute(select(audit_leaves.c.data).order_by(audit_leaves.c.position)).scalars())

        return [read_leaf(data) for data in self._database.run_blocking(read)]

    def need(self, repository: str, keyids: list[str]) -> None:
        rows: list[dict[str, Any]] = [
            {
                "repository": repository,
                "role": f"bins-{number}",
                "version": 1,
                "expires": SystemClock().now(),
                "keyid": keyid,
            }
            for number, keyid in enumerate(keyids)
        ]
        self._database.run_blocking(lambda connection: connection.execute(insert(metadata_roles), rows))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as opened:
        yield opened


@pytest.fixture(params=["memory", *KINDS])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecordsInMemory | RecordsInSql]:
    if request.param == "memory":
        yield RecordsInMemory()
        return
    with new_database(request.param, request, tmp_path) as opened:
        yield RecordsInSql(opened)
