"""The rows of a repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, update

from tests.support.publishing import target
from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import (
    Change,
    ClaimedVersions,
    Lifetimes,
    OfflineRoles,
    Publication,
    PublicationOrder,
)
from wharfinger_daemon.storage import listed_targets, role_rows, schema
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.publications import SqlPublications

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BINS = HashBins(2)
OFFLINE = OfflineRoles(
    (RoleState("targets", 1, NOW + timedelta(days=365)), RoleState("bins", 1, NOW + timedelta(days=365))), BINS
)


@pytest.fixture
def records(database: Database) -> SqlPublications:
    return SqlPublications(database, "1" * 64)


def order(add: list[str], remove: list[str] | None = None) -> PublicationOrder:
    change = Change({path: target(path) for path in add}, frozenset(remove or []))
    return PublicationOrder(change, frozenset(), OFFLINE, Lifetimes(), NOW)


async def published(records: SqlPublications, wanted: PublicationOrder) -> Publication:
    publication = await records.prepare(wanted)
    assert publication is not None
    await records.mark_published(publication, NOW)
    return publication


async def test_empty_records_have_nothing(records: SqlPublications) -> None:
    assert (None, {}) == (await records.newest(), await records.states())
    assert {"bins-0": []} == await records.targets_of(["bins-0"])


async def test_targets_are_assigned_to_more_bins_also_after_an_interruption(
    records: SqlPublications, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is a transaction: what a killed process did stays done, and the rest is done by the next."""
    monkeypatch.setattr(listed_targets, "_ASSIGNED_AT_ONCE", 3)
    paths = [f"packages/sample-{number}.whl" for number in range(10)]
    await published(records, order(paths))
    more, steps = HashBins(4), 0
    assign_after = listed_targets.ListedTargets.assign_after

    def twice(
        self: listed_targets.ListedTargets, place: tuple[str, str], connection: Connection
    ) -> tuple[str, str] | None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt
        return assign_after(self, place, connection)

    monkeypatch.setattr(listed_targets.ListedTargets, "assign_after", twice)
    with pytest.raises(KeyboardInterrupt):
        await records.assign(more)
    await records.assign(more)
    listed = await records.targets_of(list(more.roles()))
    assert {path: more.role_for(path) for path in paths} == {
        one.path: role for role, targets in listed.items() for one in targets
    }


async def test_a_prepared_publication_is_the_newest_until_it_is_published(records: SqlPublications) -> None:
    prepared = await records.prepare(order(["a"]))
    assert prepared is not None and not prepared.published
    assert prepared == await records.newest()
    await records.mark_published(prepared, NOW)
    await records.mark_published(prepared, NOW + timedelta(days=1))
    newest = await records.newest()
    assert newest is not None and newest.published


async def test_nothing_is_prepared_while_something_is_unfinished(records: SqlPublications) -> None:
    await records.prepare(order(["a"]))
    with pytest.raises(CorruptStateError) as refused:
        await records.prepare(order(["b"]))
    assert Reason.PUBLICATION_FAILED == refused.value.reason
    assert [] == (await records.targets_of([BINS.role_for("b")]))[BINS.role_for("b")]


async def test_targets_are_listed_by_bin(records: SqlPublications) -> None:
    paths = [f"file-{n}" for n in range(30)]
    await published(records, order(paths))
    listed = await records.targets_of(list(BINS.roles()))
    assert {path: BINS.role_for(path) for path in paths} == {
        one.path: role for role, targets in listed.items() for one in targets
    }
    assert target("file-3") in listed[BINS.role_for("file-3")]


async def test_more_names_than_one_statement_takes(records: SqlPublications, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_rows, "_NAMES_AT_ONCE", 2)
    paths = [f"file-{n}" for n in range(9)]
    await published(records, order(paths))
    await published(records, order(["file-10"], paths[:5]))
    listed = await records.targets_of(list(BINS.roles()))
    assert {*paths[5:], "file-10"} == {one.path for targets in listed.values() for one in targets}


async def test_a_change_of_nothing_prepares_nothing(records: SqlPublications) -> None:
    await published(records, order(["a"]))
    assert await records.prepare(order(["a"], ["b"])) is None


async def test_a_publication_may_renew_the_timestamp_alone(records: SqlPublications) -> None:
    await published(records, order(["a"]))
    publication = await published(
        records, PublicationOrder(Change(), frozenset({"timestamp"}), OFFLINE, Lifetimes(), NOW + timedelta(hours=1))
    )
    assert (2, 1, {}) == (publication.timestamp_version, publication.snapshot_version, publication.bins)
    assert NOW + timedelta(hours=25) == (await records.states())["timestamp"].expires


async def test_a_replaced_target_is_listed_once(records: SqlPublications) -> None:
    await published(records, order(["a"]))
    role = BINS.role_for("a")
    replaced = PublicationOrder(Change({"a": target("a", b"new")}), frozenset(), OFFLINE, Lifetimes(), NOW)
    publication = await published(records, replaced)
    assert {role: 2} == publication.bins
    assert [target("a", b"new")] == (await records.targets_of([role]))[role]


async def test_states_have_the_versions_and_expiries_that_were_prepared(records: SqlPublications) -> None:
    await published(records, order(["a"]))
    states = await records.states()
    assert RoleState("timestamp", 1, NOW + timedelta(days=1)) == states["timestamp"]
    assert {*BINS.roles(), "snapshot", "timestamp", "targets", "bins"} == set(states)


async def test_states_of_some_roles_are_those_that_there_are_each_with_its_lifetime(records: SqlPublications) -> None:
    lifetimes = Lifetimes(timedelta(hours=3), timedelta(hours=2), timedelta(hours=1))
    await published(records, PublicationOrder(Change(), frozenset(), OFFLINE, lifetimes, NOW))
    states = await records.states(["timestamp", "snapshot", "bins-0", "bins-unknown"])
    assert {"timestamp": 1, "snapshot": 2, "bins-0": 3} == {
        role: (state.expires - NOW) // timedelta(hours=1) for role, state in states.items()
    }


async def test_repositories_in_one_database_do_not_see_each_other(records: SqlPublications, database: Database) -> None:
    other = SqlPublications(database, "2" * 64)
    await published(records, order(["a"]))
    assert await other.newest() is None
    await published(other, order(["b"]))
    await published(records, order([], ["a", "b"]))
    role = BINS.role_for("b")
    assert [target("b")] == (await other.targets_of([role]))[role]
    newest = await other.newest()
    assert newest is not None and 1 == newest.timestamp_version


@pytest.mark.parametrize("hashes", ["", "[]", "{}", '{"sha256": "short"}'])
async def test_a_row_that_is_no_target_is_reported(records: SqlPublications, database: Database, hashes: str) -> None:
    await published(records, order(["a"]))
    with database.engine.begin() as connection:
        connection.execute(update(schema.targets).values(hashes=hashes))
    with pytest.raises(CorruptStateError) as damaged:
        await records.targets_of([BINS.role_for("a")])
    assert (Reason.TARGET_INVALID, BINS.role_for("a")) == (damaged.value.reason, damaged.value.details["role"])


async def test_a_prepared_publication_can_be_given_other_versions(records: SqlPublications) -> None:
    first = await published(records, order(["a"]))
    prepared = await records.prepare(order(["b"]))
    assert prepared is not None
    role = BINS.role_for("b")
    claimed = {"timestamp": ClaimedVersions(9), role: ClaimedVersions(3)}
    moved = await records.evade(claimed, order([]))
    assert (10, prepared.snapshot_version, {role: 4}) == (moved.timestamp_version, moved.snapshot_version, moved.bins)
    assert moved == await records.newest()
    assert first.timestamp_version == await records.last_shown()
    listed = await records.states()
    assert (10, 4) == (listed["timestamp"].version, listed[role].version)
    await records.mark_published(moved, NOW)
    assert 10 == await records.last_shown()


async def test_what_is_published_keeps_its_versions(records: SqlPublications) -> None:
    for _ in range(2):
        with pytest.raises(CorruptStateError):
            await records.evade({}, order([]))
        if await records.newest() is None:
            await published(records, order(["a"]))
