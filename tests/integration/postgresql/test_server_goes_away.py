"""The PostgreSQL server is stopped, killed and started again under the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from tests.support.postgresql_cluster import PostgresqlCluster, running_cluster
from wharfinger_daemon.audit.leaf import Act, Leaf, LeafReference
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.schema import audit_leaves
from wharfinger_daemon.storage.sole_signer import sole_signer

AT = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlCluster]:
    """A server of this module's own, which may be killed."""
    with running_cluster() as cluster:
        yield cluster


def logs(number: int) -> Callable[[JournalTransaction], LeafReference]:
    return lambda transaction: transaction.log(Leaf(Act.SIGNATURE, AT, "warehouse", {"number": number}))


async def hashes(database: Database) -> list[bytes]:
    query = select(audit_leaves.c.hash).order_by(audit_leaves.c.position)
    return await database.read(lambda connection: list(connection.execute(query).scalars()))


async def test_nothing_that_was_acknowledged_is_lost_when_the_server_is_killed(server: PostgresqlCluster) -> None:
    acknowledged: dict[int, bytes] = {}
    failed: list[UnavailableError] = []

    async def write(journal: Journal, number: int) -> None:
        try:
            reference = await journal.share(logs(number))
        except UnavailableError as error:
            failed.append(error)
        else:
            acknowledged[reference.index] = reference.hash

    with closing(Database(server.new_url())) as database, sole_signer(database):
        journal = Journal(database)
        for attempt in range(3):
            tasks = []
            for number in range(400):
                tasks.append(asyncio.create_task(write(journal, 1000 * attempt + number)))
                await asyncio.sleep(0.001)
                if number == 150:
                    await asyncio.to_thread(server.kill)
            await asyncio.gather(*tasks)
            await asyncio.to_thread(server.start)
        # The connections that the server broke cost nobody anything any more.
        assert (await journal.share(logs(9999))).index >= len(acknowledged)
        kept = await hashes(database)
    assert {Reason.DATABASE_UNAVAILABLE} == {error.reason for error in failed}
    assert acknowledged.items() <= dict(enumerate(kept)).items()


async def test_every_connection_recovers_from_a_restart_without_a_single_error(server: PostgresqlCluster) -> None:
    with closing(Database(server.new_url())) as database:
        journal = Journal(database)
        await asyncio.gather(*(hashes(database) for _ in range(20)), journal.share(logs(0)))
        await asyncio.to_thread(server.stop)
        with pytest.raises(UnavailableError) as caught:
            await journal.share(logs(1))
        assert Reason.DATABASE_UNAVAILABLE == caught.value.reason
        with pytest.raises(UnavailableError):
            await hashes(database)
        await asyncio.to_thread(server.start)
        await asyncio.gather(*(hashes(database) for _ in range(20)), journal.share(logs(1)))
        assert 2 == len(await hashes(database))
