"""Several processes write to one PostgreSQL database: in turns, and only whose place it is."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, func, select, text

from tests.support.daemon_process import poll
from tests.support.postgresql_cluster import PostgresqlCluster
from wharfinger_daemon.audit.leaf import Act, Leaf, LeafReference
from wharfinger_daemon.audit.merkle import Frontier, leaf_hash
from wharfinger_daemon.errors import CorruptStateError, Reason, RefusedError, StartupError, UnavailableError
from wharfinger_daemon.metadata.target_import import ImportProgress
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.signing.ledger import Epoch, Requester, Reservation
from wharfinger_daemon.storage.audit_tree import load_frontier
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.schema import audit_leaves
from wharfinger_daemon.storage.sole_signer import sole_signer
from wharfinger_daemon.storage.target_rows import SqlTargetRows

AT = datetime(2030, 1, 1, tzinfo=UTC)
EPOCH = Epoch("a" * 64)
REQUESTER = Requester("caller", "request")


@pytest.fixture
def first(postgresql_url: str) -> Iterator[Database]:
    with closing(Database(postgresql_url)) as database:
        yield database


@pytest.fixture
def second(postgresql_url: str) -> Iterator[Database]:
    """The same database, as another process has it."""
    with closing(Database(postgresql_url)) as database:
        yield database


def logs(number: int) -> Callable[[JournalTransaction], LeafReference]:
    return lambda transaction: transaction.log(Leaf(Act.SIGNATURE, AT, "warehouse", {"number": number}))


def sign(number: int, content: bytes) -> list[Reservation]:
    return [Reservation(EPOCH, "bins-0", number, content.ljust(32), "key", {})]


def size(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(audit_leaves)).scalar_one()


async def test_the_leaves_of_two_writers_are_one_log(first: Database, second: Database) -> None:
    journals = [Journal(first), Journal(second)]
    for start in range(0, 300, 50):
        await asyncio.gather(
            *(journal.share(logs(number)) for number in range(start, start + 50) for journal in journals)
        )
    hashes = await first.read(
        lambda connection: list(
            connection.execute(select(audit_leaves.c.hash).order_by(audit_leaves.c.position)).scalars()
        )
    )
    whole = Frontier()
    for value in hashes:
        list(whole.append(value))
    assert 600 == len(hashes)
    assert whole.root() == (await second.read(load_frontier)).root()
    assert leaf_hash(b"") not in hashes


async def test_of_two_contents_for_one_version_one_is_admitted_in_whatever_process(
    first: Database, second: Database
) -> None:
    ledgers = [SqlLedger(Journal(first)), SqlLedger(Journal(second))]
    admitted = []
    for version in range(1, 21):
        answers = await asyncio.gather(
            *(
                ledger.reserve(sign(version, f"{number}".encode()), REQUESTER, max_version_jump=1, at=AT)
                for number, ledger in enumerate(ledgers)
            ),
            return_exceptions=True,
        )
        admitted.append(sum(not isinstance(answer, BaseException) for answer in answers))
        [refused] = [answer for answer in answers if isinstance(answer, BaseException)]
        assert isinstance(refused, RefusedError)
        assert Reason.VERSION_EQUIVOCATION == refused.reason
    assert [1] * 20 == admitted


def test_a_second_signer_is_refused_until_the_first_is_done(first: Database, second: Database) -> None:
    with sole_signer(first), pytest.raises(StartupError) as refused, sole_signer(second):
        pass
    assert Reason.PUBLISHER_RUNNING == refused.value.reason
    with sole_signer(second):
        pass


async def test_signer_that_lost_its_place_while_it_was_paused_writes_nothing_more(
    first: Database, second: Database, postgresql: PostgresqlCluster
) -> None:
    old, new, lost = Journal(first), Journal(second), threading.Event()
    with ExitStack() as signers:
        signers.enter_context(sole_signer(first, lost.set))
        await old.share(logs(0))
        _break_signers_lock(postgresql, first)
        signers.enter_context(sole_signer(second))
        await new.share(logs(2))
        for writing in (old.share(logs(3)), old.write(logs(3)), SqlLedger(old).reserve(
            sign(1, b"x"), REQUESTER, max_version_jump=1, at=AT
        )):  # fmt: skip
            with pytest.raises(UnavailableError) as fenced:
                await writing
            assert Reason.FENCED == fenced.value.reason
        assert 2 == (await new.share(logs(4))).index
        assert await asyncio.to_thread(lost.wait, 60)
    assert 3 == await second.read(size)


async def test_signer_whose_connection_breaks_takes_its_place_again(
    first: Database, second: Database, postgresql: PostgresqlCluster
) -> None:
    lost = threading.Event()
    with sole_signer(first, lost.set):
        _break_signers_lock(postgresql, first)
        await asyncio.to_thread(poll, lambda: _is_refused(second), "the place is taken again")
        await Journal(first).share(logs(0))
        assert not lost.is_set()


def test_import_that_lost_its_place_while_it_was_paused_writes_no_row(
    first: Database, second: Database, postgresql: PostgresqlCluster
) -> None:
    """Or a publisher that took its place would build upon files that know nothing of these rows."""
    chunk = {"a": Target("a", 1, {"sha256": "0" * 64})}
    with ExitStack() as signers:
        signers.enter_context(sole_signer(first))
        rows = SqlTargetRows(first, Journal(first), EPOCH.repository, lambda path: "bins-0")
        _break_signers_lock(postgresql, first)
        signers.enter_context(sole_signer(second))
        with pytest.raises(UnavailableError) as fenced:
            rows.put(chunk, ImportProgress(1, 1, b"0" * 32))
        assert Reason.FENCED == fenced.value.reason
    assert (0, None) == (rows.unpublished(), rows.progress())


def _is_refused(database: Database) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database"
    query += " WHERE datname = current_database())"
    return database.read_blocking(lambda connection: connection.execute(text(query)).scalar_one()) == 1


async def test_signer_that_is_paused_loses_its_place_within_seconds(first: Database, postgresql_url: str) -> None:
    """The server ends the silent connection; the paused process finds, when it wakes up, that it may not write."""
    signer = subprocess.Popen([sys.executable, "-c", SIGNER, postgresql_url], stdout=subprocess.PIPE, text=True)
    assert signer.stdout is not None
    try:
        assert "signs\n" == await asyncio.to_thread(signer.stdout.readline)
        signer.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(poll, lambda: not _is_refused(first), "the place is free")
        with sole_signer(first):
            await Journal(first).share(logs(0))
            signer.send_signal(signal.SIGCONT)
            assert "FENCED\n" == await asyncio.to_thread(signer.stdout.readline)
            assert "lost\n" == await asyncio.to_thread(signer.stdout.readline)
        assert 0 == signer.wait(60)
    finally:
        signer.kill()
        signer.wait()
        signer.stdout.close()


# Writes until it may not; then waits to be told that it lost its place.
SIGNER = """
import sys, threading, time
from contextlib import closing
from wharfinger_daemon.errors import UnavailableError
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.sole_signer import sole_signer
from wharfinger_daemon.storage.target_rows import SqlTargetRows

lost = threading.Event()
with closing(Database(sys.argv[1])) as database, sole_signer(database, lost.set):
    print("signs", flush=True)
    try:
        while True:
            Journal(database).write_blocking(lambda transaction: None)
            time.sleep(0.01)
    except UnavailableError as error:
        print(error.reason, flush=True)
    assert lost.wait(60)
    print("lost", flush=True)
"""


def _break_signers_lock(cluster: PostgresqlCluster, database: Database) -> None:
    with closing(cluster.connect()) as connection:
        query = (
            "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
            " WHERE locktype = 'advisory' AND datname = %s"
        )
        name = database.engine.url.database
        [[holder]] = connection.execute(query, (name,)).fetchall()
        connection.execute("SELECT pg_terminate_backend(%s)", (holder,))
        # Before it can be taken again: the signer looks every second.
        poll(lambda: not connection.execute(query, (name,)).fetchall(), "the server let go of the lock")


@pytest.mark.parametrize("synced", [True, False])
async def test_server_that_lost_what_was_durable_is_noticed(first: Database, synced: bool) -> None:
    """As a replica does that was behind when it was promoted. What was not said to be durable may be lost."""
    journal = Journal(first)
    await journal.share(logs(0))
    for number in range(1, 4):
        await journal.share(logs(number), synced=synced)
    await first.run(lambda connection: connection.execute(text("DELETE FROM audit_leaves WHERE position > 0")))
    await first.run(lambda connection: connection.execute(text("UPDATE writing_turns SET number = 1")))
    if synced:
        with pytest.raises(CorruptStateError) as caught:
            await journal.share(logs(4))
        assert Reason.LEDGER_BEHIND == caught.value.reason
        assert 1 == await first.read(size)
    else:
        assert 1 == (await journal.share(logs(4))).index


async def test_who_waits_too_long_for_the_turn_is_unavailable(
    first: Database, postgresql_url: str, postgresql: PostgresqlCluster
) -> None:
    name = first.engine.url.database
    assert name is not None
    with closing(Database(postgresql_url, statement_seconds=0.2)) as hasty, closing(postgresql.connect(name)) as other:
        other.execute("BEGIN; UPDATE writing_turns SET number = number + 1")
        with pytest.raises(UnavailableError, match="statement timeout") as caught:
            await Journal(hasty).share(logs(0))
        assert Reason.DATABASE_UNAVAILABLE == caught.value.reason
        other.execute("ROLLBACK")
        assert 0 == (await Journal(hasty).share(logs(0))).index


async def test_row_that_the_database_refuses_fails_everybody_who_shares_its_transaction(first: Database) -> None:
    journal = Journal(first)
    await journal.share(logs(0))
    await first.run(
        lambda connection: connection.execute(text("ALTER TABLE audit_leaves ADD CONSTRAINT ill CHECK (position < 1)"))
    )
    outcomes = await asyncio.gather(*(journal.share(logs(number)) for number in range(1, 4)), return_exceptions=True)
    assert [UnavailableError] * 3 == [type(outcome) for outcome in outcomes]
    await first.run(lambda connection: connection.execute(text("ALTER TABLE audit_leaves DROP CONSTRAINT ill")))
    assert 1 == (await journal.share(logs(1))).index


async def test_turn_that_nobody_can_take_is_corrupt(first: Database) -> None:
    await first.run(lambda connection: connection.execute(text("DELETE FROM writing_turns")))
    with pytest.raises(CorruptStateError, match="writing_turns"):
        await Journal(first).share(logs(0))


async def test_readers_see_one_moment(first: Database, second: Database) -> None:
    """Without it, a proof could be made of leaves and of a size that never were together."""
    counted: list[int] = []
    read, written = threading.Event(), threading.Event()

    def reads_twice(connection: Connection) -> None:
        counted.append(size(connection))
        read.set()
        assert written.wait(60)
        counted.append(size(connection))

    reading = asyncio.create_task(first.read(reads_twice))
    assert await asyncio.to_thread(read.wait, 60)
    await Journal(second).share(logs(0))
    written.set()
    await reading
    assert [0, 0] == counted
