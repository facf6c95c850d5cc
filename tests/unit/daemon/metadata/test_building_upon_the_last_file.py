"""Bins are made of their last file, and always as the rows say."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from tests.support.publishing import PublishingWorld, target
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import bin_document, carries, snapshot_document
from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.observer import SilentObserver
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.storage import schema

BINS = HashBins(2)
PATHS = [f"file-{number}" for number in range(24)]
IN_BIN_0 = [path for path in PATHS if BINS.role_for(path) == "bins-0"]


class Rows:
    """The records; counts of which bins the targets were read."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.read: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    async def targets_of(self, bins: Collection[str]) -> Mapping[str, list[Target]]:
        self.read += bins
        listed: Mapping[str, list[Target]] = await self._records.targets_of(bins)
        return listed


class Alarmed(SilentObserver):
    """Counts wrong splices."""

    def __init__(self) -> None:
        self.wrong = 0

    def spliced_wrongly(self) -> None:
        self.wrong += 1


async def begun(world: PublishingWorld) -> tuple[Repository, Rows, Alarmed]:
    """After the first publication, with two targets in bin 0."""
    rows, alarmed = Rows(world.records), Alarmed()
    repository = await world.repository(records=rows, observer=alarmed)
    await repository.publish(Change())
    await repository.publish(added(IN_BIN_0[0], IN_BIN_0[1]))
    rows.read.clear()
    return repository, rows, alarmed


def added(*paths: str, content: bytes = b"content") -> Change:
    return Change({path: target(path, content) for path in paths})


async def require_all_as_the_rows_say(world: PublishingWorld) -> None:
    """Every published file, and the snapshot, byte for byte but for signatures."""
    assert isinstance(world.store, MemoryStore)
    states, listed = await world.records.states(), await world.records.targets_of(list(BINS.roles()))
    versions = await published_versions(world.store)
    for role in BINS.roles():
        assert versions[role] == states[role].version
        content = world.store.files[f"{versions[role]}.{role}.json"]
        assert carries(content, bin_document(states[role], listed[role]))
    named = {role: state.version for role, state in states.items() if role not in ("snapshot", "timestamp")}
    snapshot = world.store.files[f"{versions['snapshot']}.snapshot.json"]
    assert carries(snapshot, snapshot_document(states["snapshot"], named))


CHANGES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(PATHS), st.binary(max_size=2), max_size=6),
        st.sets(st.sampled_from(PATHS), max_size=4),
        st.sets(st.sampled_from(sorted(BINS.roles())), max_size=2),
    ),
    max_size=6,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
async def test_whatever_is_published_is_what_the_rows_say(
    world: PublishingWorld, changes: Sequence[tuple[dict[str, bytes], set[str], set[str]]]
) -> None:
    alarmed = Alarmed()
    repository = await world.repository(observer=alarmed)
    await repository.publish(Change())
    for add, remove, renew in changes:
        listed = {path: target(path, content) for path, content in add.items()}
        await repository.publish(Change(listed, frozenset(remove - add.keys())), renew)
        await require_all_as_the_rows_say(world)
    assert 0 == alarmed.wrong


async def test_only_the_bin_that_is_checked_is_read_from_the_rows(world: PublishingWorld) -> None:
    repository, rows, _ = await begun(world)
    await repository.publish(added(*PATHS))
    assert 1 == len(rows.read)
    await require_all_as_the_rows_say(world)


async def test_renewed_bin_lists_what_it_did(world: PublishingWorld) -> None:
    repository, rows, _ = await begun(world)
    await repository.publish(Change(), set(BINS.roles()))
    assert 1 == len(rows.read)
    await require_all_as_the_rows_say(world)


async def test_file_that_somebody_changed_is_not_built_upon(world: PublishingWorld) -> None:
    """Whoever can write to the store could have anything signed otherwise."""
    repository, _, _ = await begun(world)
    assert isinstance(world.store, MemoryStore)
    evil = hashlib.sha256(b"evil").hexdigest().encode()
    good = hashlib.sha256(b"content").hexdigest().encode()
    world.store.files["2.bins-0.json"] = world.store.files["2.bins-0.json"].replace(good, evil)
    await repository.publish(added(IN_BIN_0[2]))
    assert evil not in world.store.files["3.bins-0.json"]
    await require_all_as_the_rows_say(world)


async def test_file_that_is_gone_is_built_from_the_rows(world: PublishingWorld) -> None:
    repository, _, _ = await begun(world)
    assert isinstance(world.store, MemoryStore)
    del world.store.files["2.bins-0.json"]
    await repository.publish(added(IN_BIN_0[2]))
    await require_all_as_the_rows_say(world)


async def test_rows_that_changed_beside_the_publisher_are_noticed_and_believed(world: PublishingWorld) -> None:
    repository, _, alarmed = await begun(world)
    with world.database.engine.begin() as connection:
        row = schema.targets.c.path == IN_BIN_0[0]
        connection.execute(update(schema.targets).where(row).values(length=99))
    await repository.publish(added(IN_BIN_0[2]))
    assert 1 == alarmed.wrong
    await require_all_as_the_rows_say(world)


async def test_another_process_builds_upon_nothing(world: PublishingWorld) -> None:
    await begun(world)
    rows = Rows(world.records)
    other = await world.repository(records=rows)
    await other.publish(added(IN_BIN_0[2]))
    assert ["bins-0"] == rows.read
    await require_all_as_the_rows_say(world)


@pytest.mark.parametrize("until", ["sign", "add", "show"])
async def test_after_a_failure_everything_is_read_again(world: PublishingWorld, until: str) -> None:
    repository, rows, _ = await begun(world)
    assert isinstance(world.store, MemoryStore)
    failing = {"sign": (world.signer, "sign"), "add": (world.store, "add"), "show": (world.store, "replace_timestamp")}
    part, name = failing[until]
    works = getattr(part, name)

    async def fails(*_: Any, **__: Any) -> None:
        setattr(part, name, works)
        raise UnavailableError("not now", reason=Reason.STORE_UNAVAILABLE)

    setattr(part, name, fails)
    with pytest.raises(UnavailableError):
        await repository.publish(added(IN_BIN_0[2]))
    rows.read.clear()
    world.clock.advance(timedelta(minutes=1))
    await repository.finish()
    assert ["bins-0"] == rows.read
    await require_all_as_the_rows_say(world)
