"""Suspensions in the database: each change with its leaf, both or neither."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from wharfinger_daemon.audit.leaf import Act, Leaf, read_leaf
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.signing.suspension import Suspension
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.migrate import upgrade
from wharfinger_daemon.storage.schema import audit_leaves
from wharfinger_daemon.storage.suspensions import SqlSuspensions

IDENTITY = "a" * 64
AT = datetime(2030, 1, 1, 12, 30, tzinfo=UTC)
FIRST = Suspension("pypi", "First.", "security", AT)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'suspensions.db'}")) as opened:
        upgrade(opened)
        yield opened


def leaves(database: Database) -> list[Leaf]:
    def work(connection: Connection) -> list[bytes]:
        return list(connection.execute(select(audit_leaves.c.data).order_by(audit_leaves.c.position)).scalars())

    return [read_leaf(data) for data in database.run_blocking(work)]


async def test_what_was_added_is_there_for_the_next_process_under_its_present_name(database: Database) -> None:
    await SqlSuspensions(Journal(database)).add(IDENTITY, FIRST)
    again = SqlSuspensions(Journal(database))
    assert [Suspension("index", "First.", "security", AT)] == await again.all({IDENTITY: "index"})
    assert [] == await again.all({"b" * 64: "other"})


async def test_the_newest_suspension_of_a_repository_stands_and_every_one_is_logged(database: Database) -> None:
    records = SqlSuspensions(Journal(database))
    second = Suspension("pypi", "Second.", "other", AT + timedelta(hours=1))
    await records.add(IDENTITY, FIRST)
    await records.add(IDENTITY, second)
    assert [second] == await records.all({IDENTITY: "pypi"})
    said = [(leaf.act, leaf.at, leaf.caller, leaf.details["reason"]) for leaf in leaves(database)]
    assert [
        (Act.SIGNING_SUSPENDED, AT, "security", "First."),
        (Act.SIGNING_SUSPENDED, second.since, "other", "Second."),
    ] == said


async def test_the_end_of_a_suspension_is_logged_and_that_of_none_is_not(database: Database) -> None:
    records = SqlSuspensions(Journal(database))
    await records.add(IDENTITY, FIRST)
    for _ in range(2):
        await records.remove(IDENTITY, "pypi", caller="local", at=AT)
    assert [] == await records.all({IDENTITY: "pypi"})
    assert [Act.SIGNING_SUSPENDED, Act.SIGNING_RESUMED] == [leaf.act for leaf in leaves(database)]
    assert {"repository": IDENTITY, "name": "pypi"} == leaves(database)[1].details


async def test_without_its_leaf_nothing_is_written(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(transaction: JournalTransaction, leaf: Leaf) -> None:
        raise UnavailableError("The disk is full.", reason=Reason.DATABASE_UNAVAILABLE)

    records = SqlSuspensions(Journal(database))
    monkeypatch.setattr(JournalTransaction, "log", fail)
    with pytest.raises(UnavailableError):
        await records.add(IDENTITY, FIRST)
    monkeypatch.undo()
    assert ([], []) == (await records.all({IDENTITY: "pypi"}), leaves(database))
