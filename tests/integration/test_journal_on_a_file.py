"""The journal on a file, which others may move away, fill or change beside it."""

import asyncio
import sqlite3
import threading

import pytest

from tests.support.journaled import AT, leaf, logs, stored
from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.errors import CorruptStateError, Reason, UnavailableError
from wharfinger_daemon.storage.audit_tree import load_frontier
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.migrate import upgrade


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def database(path):
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def journal(database):
    return Journal(database)


async def shared(journal, *works):
    """The outcomes of pieces of work that share one transaction."""
    begun, all_wait = threading.Event(), threading.Event()

    def keeps_the_journal_busy(transaction):
        begun.set()
        assert all_wait.wait(60)

    busy = asyncio.create_task(journal.share(keeps_the_journal_busy))
    assert await asyncio.to_thread(begun.wait, 60)
    tasks = [asyncio.create_task(journal.share(work)) for work in works]
    await asyncio.sleep(0)
    all_wait.set()
    await busy
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_failed_write_fails_everybody_and_the_next_one_works(journal, path):
    await journal.share(logs(0))
    with sqlite3.connect(path) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON audit_leaves BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    outcomes = await asyncio.gather(*(journal.share(logs(number)) for number in range(1, 4)), return_exceptions=True)
    assert [UnavailableError] * 3 == [type(outcome) for outcome in outcomes]
    with sqlite3.connect(path) as other:
        other.execute("DROP TRIGGER full")
    other.close()
    assert 1 == (await journal.share(logs(1))).index


async def test_what_another_process_wrote_is_seen(journal, database, path):
    await journal.share(logs(0))
    second = Database(f"sqlite:///{path}")
    assert 1 == Journal(second).write_blocking(logs(1)).index
    second.close()
    assert 2 == (await journal.share(logs(2))).index
    assert 3 == len(await database.run(stored))


async def test_log_that_lost_rows_is_not_written_any_more(journal, path):
    await asyncio.gather(*(journal.share(logs(number)) for number in range(5)))
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM audit_leaves WHERE position = 2")
    other.close()
    with pytest.raises(CorruptStateError) as caught:
        await journal.share(logs(5))
    assert Reason.LOG_INVALID == caught.value.reason


async def test_file_that_was_moved_away_is_noticed_at_once(journal, path):
    """SQLite goes on writing into it, and after a restart all of that would be gone."""
    await journal.share(logs(0))
    path.rename(path.with_suffix(".away"))
    with pytest.raises(UnavailableError) as caught:
        await journal.share(logs(1))
    assert Reason.DATABASE_UNAVAILABLE == caught.value.reason
    path.write_bytes(b"")
    with pytest.raises(UnavailableError):
        await journal.share(logs(1))
    path.with_suffix(".away").rename(path)
    assert 1 == (await journal.share(logs(1))).index


async def test_disk_that_fills_up_under_one_of_them_fails_everybody_and_leaves_the_log_whole(journal, database):
    """SQLite rolls the whole transaction back then, and what comes after it would be in none."""
    await journal.share(logs(0))
    await journal.share(lambda transaction: transaction.driver.execute("PRAGMA max_page_count = 1"))

    def logs_much(transaction):
        return transaction.log(Leaf(Act.SIGNATURE, AT, "warehouse", {"number": "9" * 500_000}))

    outcomes = await shared(journal, logs_much, lambda transaction: transaction.flush(), logs(2))

    assert [UnavailableError] * 3 == [type(outcome) for outcome in outcomes]
    await journal.share(lambda transaction: transaction.driver.execute("PRAGMA max_page_count = 1000000"))
    assert 1 == (await journal.share(logs(1))).index
    rows = await database.run(stored)
    assert [leaf(0).encode(), leaf(1).encode()] == [encoded for _, _, encoded in rows]
    await database.run(load_frontier)


async def test_row_that_the_database_refuses_under_one_of_them_fails_everybody(journal, database, path):
    """What the others had collected by then is not written any more, and must not count as written."""
    await journal.share(logs(0))
    with sqlite3.connect(path) as other:
        other.execute("CREATE TRIGGER ill BEFORE INSERT ON audit_leaves BEGIN SELECT RAISE(ABORT, 'ill'); END")
    other.close()

    outcomes = await shared(journal, logs(1), lambda transaction: transaction.flush())

    assert [UnavailableError] * 2 == [type(outcome) for outcome in outcomes]
    assert 1 == len(await database.run(stored))
