"""Transactions: whole or not at all, durable, and what goes wrong is said in our words."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.dialects import sqlite

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.storage.column_types import UtcDateTime
from wharfinger_daemon.storage.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'w.db'}")) as opened:
        opened.run_blocking(lambda connection: connection.execute(text("CREATE TABLE numbers (n INTEGER)")))
        yield opened


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT COUNT(*) FROM numbers")).scalar_one())


def insert(connection: Connection) -> None:
    connection.execute(text("INSERT INTO numbers VALUES (1)"))


async def test_what_returned_is_there(database: Database) -> None:
    await database.run(insert)
    assert 1 == await database.run(count)


async def test_what_raised_left_nothing(database: Database) -> None:
    def stumble(connection: Connection) -> None:
        insert(connection)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        await database.run(stumble)
    assert 0 == await database.run(count)


async def test_concurrent_transactions_wait_for_each_other(database: Database) -> None:
    await asyncio.gather(*(database.run(insert) for _ in range(50)))
    assert 50 == await database.run(count)


def test_commits_are_on_the_disk(database: Database) -> None:
    """PRAGMA synchronous = FULL is 2: with less, a ledger row could vanish in a power cut after its signature left."""
    assert (2, "wal") == database.run_blocking(
        lambda connection: (
            connection.execute(text("PRAGMA synchronous")).scalar_one(),
            connection.execute(text("PRAGMA journal_mode")).scalar_one(),
        )
    )


def test_foreign_keys_hold(database: Database) -> None:
    assert 1 == database.run_blocking(lambda connection: connection.execute(text("PRAGMA foreign_keys")).scalar_one())


async def test_a_wrong_statement_is_unavailable_and_not_a_foreign_error(database: Database) -> None:
    with pytest.raises(UnavailableError) as caught:
        await database.run(lambda connection: connection.execute(text("SELECT * FROM absent")))
    assert Reason.DATABASE_UNAVAILABLE == caught.value.reason


def test_a_file_that_is_no_database_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "w.db").write_bytes(b"not a database, and long enough to look like one" * 100)
    with closing(Database(f"sqlite:///{tmp_path / 'w.db'}")) as broken, pytest.raises(UnavailableError):
        broken.run_blocking(count)


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path / 'absent' / 'w.db'}")) as broken, pytest.raises(UnavailableError):
        broken.run_blocking(count)


def test_two_processes_write_one_after_another(tmp_path: Path, database: Database) -> None:
    """BEGIN IMMEDIATE: nobody reads first and finds at commit that another has written."""
    other = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    with closing(other):
        other.execute("PRAGMA busy_timeout = 0")

        def write_meanwhile(connection: Connection) -> None:
            count(connection)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("INSERT INTO numbers VALUES (2)")

        database.run_blocking(write_meanwhile)


def test_instants_are_kept_in_utc() -> None:
    kind, dialect = UtcDateTime(), sqlite.dialect()
    local = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    stored = kind.process_bind_param(local, dialect)
    assert datetime(2030, 1, 1, 7, tzinfo=UTC).replace(tzinfo=None) == stored
    assert datetime(2030, 1, 1, 7, tzinfo=UTC) == kind.process_result_value(stored, dialect)
    assert kind.process_bind_param(None, dialect) is None
    assert kind.process_result_value(None, dialect) is None
    with pytest.raises(ValueError, match="time zone"):
        kind.process_bind_param(local.replace(tzinfo=None), dialect)
