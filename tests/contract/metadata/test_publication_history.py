"""What the rows of former publications tell, and which of them may go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import Change, Lifetimes, OfflineRoles, Publication, PublicationOrder
from wharfinger_daemon.storage import schema
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.publication_history import SqlPublicationHistory
from wharfinger_daemon.storage.publications import SqlPublications

START = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BINS = HashBins(2)
FAR = START + timedelta(days=365)
OFFLINE = OfflineRoles((RoleState("targets", 1, FAR), RoleState("bins", 1, FAR)), BINS)
REPOSITORY = "1" * 64


@pytest.fixture
def history(database: Database) -> SqlPublicationHistory:
    return SqlPublicationHistory(database, REPOSITORY)


async def prepare(database: Database, at: datetime, *renew: str, repository: str = REPOSITORY) -> Publication:
    records = SqlPublications(database, repository)
    prepared = await records.prepare(PublicationOrder(Change(), frozenset(renew), OFFLINE, Lifetimes(), at))
    assert prepared is not None
    return prepared


async def publish(database: Database, at: datetime, *renew: str, repository: str = REPOSITORY) -> None:
    prepared = await prepare(database, at, *renew, repository=repository)
    await SqlPublications(database, repository).mark_published(prepared, at)


def rows(database: Database) -> tuple[int, int]:
    """How many publications there are, and bins of them."""
    return database.run_blocking(
        lambda connection: (
            connection.execute(select(func.count()).select_from(schema.publications)).scalar_one(),
            connection.execute(select(func.count()).select_from(schema.publication_bins)).scalar_one(),
        )
    )


async def test_before_the_first_publication_nothing_was_shown(
    database: Database, history: SqlPublicationHistory
) -> None:
    assert {} == await history.shown_at(START)
    await publish(database, START)
    assert {} == await history.shown_at(START)
    assert {"snapshot": 1, **dict.fromkeys(BINS.roles(), 1)} == await history.shown_at(START + MINUTE)


async def test_a_version_is_shown_from_its_publication_on(database: Database, history: SqlPublicationHistory) -> None:
    await publish(database, START)
    await publish(database, START + 10 * MINUTE, "bins-2")
    await publish(database, START + 20 * MINUTE, "timestamp")
    first = {"snapshot": 1, **dict.fromkeys(BINS.roles(), 1)}
    assert first == await history.shown_at(START + 9 * MINUTE)
    assert {**first, "snapshot": 2, "bins-2": 2} == await history.shown_at(START + 30 * MINUTE)


async def test_what_is_prepared_was_not_shown(database: Database, history: SqlPublicationHistory) -> None:
    await publish(database, START)
    await prepare(database, START + MINUTE, "bins-2")
    assert 1 == (await history.shown_at(START + 9 * MINUTE))["bins-2"]
    assert 0 == await history.forget(START + 9 * MINUTE, 100)


async def test_other_repositories_are_not_looked_at_and_keep_their_rows(
    database: Database, history: SqlPublicationHistory
) -> None:
    for minutes in range(3):
        await publish(database, START + minutes * MINUTE, "bins-1", repository="2" * 64)
    before = rows(database)
    assert {} == await history.shown_at(START + 9 * MINUTE)
    assert 0 == await history.forget(START + 9 * MINUTE, 100)
    assert before == rows(database)


async def test_rows_that_tell_nothing_any_more_are_forgotten_in_parts(
    database: Database, history: SqlPublicationHistory
) -> None:
    await publish(database, START)
    for minutes in range(1, 10):
        await publish(database, START + minutes * MINUTE, "bins-2")
    assert (10, 13) == rows(database)
    instant = START + 20 * MINUTE
    shown = await history.shown_at(instant)
    forgotten = []
    while (number := await history.forget(instant, 4)) == 4:
        forgotten.append(number)
    # Bins: nine versions of one. Publications: all but the first, which still tells of three bins, and the last.
    assert 9 + 8 == sum(forgotten) + number
    assert (2, 4) == rows(database)
    assert shown == await history.shown_at(instant)


async def test_the_last_publication_is_never_forgotten(database: Database, history: SqlPublicationHistory) -> None:
    """By it a start knows whether store and records belong together."""
    await publish(database, START)
    for minutes in range(1, 5):
        await publish(database, START + minutes * MINUTE, "timestamp")
    await history.forget(START + timedelta(days=900), 1000)
    records = SqlPublications(database, REPOSITORY)
    newest = await records.newest()
    assert newest is not None
    assert (5, 5, True) == (newest.timestamp_version, await records.last_shown(), newest.published)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sets(st.sampled_from(list(BINS.roles())))), max_size=12),
    st.integers(0, 300),
    st.integers(1, 5),
)
def test_forgetting_changes_no_answer_of_that_instant_or_later(
    database: Database, steps: list[tuple[int, set[str]]], minutes: int, most: int
) -> None:
    async def check() -> None:
        _clear(database)
        history, now = SqlPublicationHistory(database, REPOSITORY), START
        await publish(database, now)
        for minutes_later, renew in steps:
            now += minutes_later * MINUTE
            await publish(database, now, "timestamp", *renew)
        instants = [START + at * MINUTE for at in range(minutes, minutes + 400, 25)]
        before = [await history.shown_at(instant) for instant in instants]
        while await history.forget(instants[0], most) == most:
            pass
        assert before == [await history.shown_at(instant) for instant in instants]

    asyncio.run(check())


def _clear(database: Database) -> None:
    for table in (schema.publication_bins, schema.publications, schema.metadata_roles):
        database.run_blocking(lambda connection, table=table: connection.execute(delete(table)))  # type: ignore[misc]


async def test_publications_are_told_in_order_from_a_version_on(
    database: Database, history: SqlPublicationHistory
) -> None:
    assert (0, []) == (await history.last_shown(), await history.shown_after(0, 10))
    for minute in range(4):
        await publish(database, START + minute * MINUTE, *(["bins-1"] if minute == 2 else ["timestamp"]))
    await publish(database, START, repository="2" * 64)
    assert 4 == await history.last_shown()
    told = await history.shown_after(1, 2)
    assert [2, 3] == [publication.timestamp_version for publication in told]
    assert [START + MINUTE, START + 2 * MINUTE] == [publication.published_at for publication in told]
    assert [(1, {}), (2, {"bins-1": 2})] == [(it.snapshot_version, it.bins) for it in told]
    assert BINS.number == len((await history.shown_after(0, 1))[0].bins)


async def test_what_is_prepared_is_not_told(database: Database, history: SqlPublicationHistory) -> None:
    await publish(database, START)
    await prepare(database, START + MINUTE, "timestamp")
    assert 1 == await history.last_shown()
    assert [] == await history.shown_after(1, 10)


async def test_what_is_told_after_forgetting_leads_to_the_present_versions(
    database: Database, history: SqlPublicationHistory
) -> None:
    """Whoever was away for longer than publications are remembered still learns the newest version of every bin."""
    for minute in range(12):
        await publish(database, START + minute * MINUTE, f"bins-{minute % 2}")
    before = await history.shown_after(0, 100)
    await history.forget(START + 10 * MINUTE, 1000)
    after = await history.shown_after(0, 100)
    assert len(after) < len(before)
    versions: list[dict[str, int]] = [{}, {}]
    for known, told in zip(versions, (before, after), strict=True):
        for publication in told:
            known.update(publication.bins)
    assert versions[0] == versions[1]
    assert before[-1] == after[-1]
