"""The journal on a real database: many requests share one durable write, and each is decided by itself."""

import asyncio
from contextlib import closing

import pytest
from sqlalchemy import event, func, select

from tests.support.journaled import leaf, logs, refuses, stored
from wharfinger_daemon.audit.merkle import Frontier, leaf_hash
from wharfinger_daemon.errors import OverloadedError, Reason, RefusedError, UnavailableError
from wharfinger_daemon.storage import journal as journal_module
from wharfinger_daemon.storage.audit_tree import load_frontier
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.schema import audit_leaves, audit_nodes


@pytest.fixture
def database(database_url):
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def journal(database):
    return Journal(database)


async def test_concurrent_requests_share_a_transaction(journal, database):
    commits = []
    event.listen(database.engine, "commit", commits.append)
    references = await asyncio.gather(*(journal.share(logs(number)) for number in range(200)))
    assert list(range(200)) == [reference.index for reference in references]
    assert len(commits) < 20
    rows = await database.run(stored)
    assert [(one.index, one.hash) for one in references] == [(position, value) for position, value, _ in rows]
    assert [leaf(number).encode() for number in range(200)] == [encoded for _, _, encoded in rows]


async def test_what_is_refused_leaves_nothing_and_concerns_nobody_else(journal, database):
    works = [refuses if number % 3 == 1 else logs(number) for number in range(30)]
    outcomes = await asyncio.gather(*(journal.share(work) for work in works), return_exceptions=True)
    assert [RefusedError] * 10 == [type(outcome) for outcome in outcomes[1::3]]
    assert list(range(20)) == sorted(one.index for one in outcomes if not isinstance(one, RefusedError))
    assert 20 == len(await database.run(stored))


async def test_work_that_is_alone_is_rolled_back_as_a_whole(journal, database):
    def writes_and_raises(transaction):
        transaction.log(leaf(1))
        transaction.flush()
        raise ValueError("after it wrote")

    outcomes = await asyncio.gather(
        journal.share(logs(0)), journal.write(writes_and_raises), journal.share(logs(2)), return_exceptions=True
    )
    assert [0, 1] == [outcomes[0].index, outcomes[2].index]
    assert isinstance(outcomes[1], ValueError)
    assert [leaf(0).encode(), leaf(2).encode()] == [encoded for _, _, encoded in await database.run(stored)]


async def test_tree_that_grows_in_steps_is_the_tree_of_all_leaves(journal, database):
    for start in range(0, 700, 70):
        await asyncio.gather(*(journal.share(logs(number)) for number in range(start, start + 70)))
    whole = Frontier()
    for number in range(700):
        list(whole.append(leaf_hash(leaf(number).encode())))
    assert whole.root() == (await database.run(load_frontier)).root()
    nodes = await database.run(lambda connection: connection.execute(select(audit_nodes)).all())
    assert [(8, 0), (8, 1)] == [(node.level, node.position) for node in nodes]


async def test_more_than_can_wait_is_refused_at_once(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "_MOST_WAITING", 3)
    outcomes = await asyncio.gather(*(journal.share(logs(number)) for number in range(10)), return_exceptions=True)
    assert {OverloadedError} == {type(outcome) for outcome in outcomes if isinstance(outcome, Exception)}
    assert 3 <= sum(not isinstance(outcome, Exception) for outcome in outcomes) < 10


async def test_caller_that_went_away_is_left_out_if_its_work_has_not_begun(journal, database):
    tasks = [asyncio.create_task(journal.share(logs(number))) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    count = await database.run(lambda connection: connection.execute(select(func.count(audit_leaves.c.hash))).scalar())
    assert count in (2, 3)
    assert count == (await journal.share(logs(9))).index


async def test_who_comes_after_the_end_does_not_wait_for_ever(journal, database):
    await journal.share(logs(0))
    database.close()
    with pytest.raises(UnavailableError) as caught:
        async with asyncio.timeout(10):
            await journal.share(logs(1))
    assert Reason.DRAINING == caught.value.reason
