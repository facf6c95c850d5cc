"""What is swept, and what never is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.publishing import EAGER, PublishingWorld, target
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.observer import SilentObserver
from wharfinger_daemon.metadata.ports import VersionedFile
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.metadata.publisher import Publisher
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.retention import Retention, RetentionSettings, StoredFile, Sweeper, survey
from wharfinger_daemon.storage.publication_history import SqlPublicationHistory

GRACE = timedelta(minutes=70)
SETTINGS = RetentionSettings(GRACE, interval_seconds=0.02, files_at_once=3, rows_at_once=2)


class CountingObserver(SilentObserver):
    """Counts what is swept."""

    def __init__(self) -> None:
        self.files = 0

    def swept(self, files: int) -> None:
        self.files += files


def history_of(world: PublishingWorld) -> SqlPublicationHistory:
    return SqlPublicationHistory(world.database, world.records._repository)


def retention_of(world: PublishingWorld, settings: RetentionSettings = SETTINGS) -> Retention:
    return Retention(world.store, history_of(world), world.clock, settings, CountingObserver())


def files_of(world: PublishingWorld) -> set[str]:
    assert isinstance(world.store, MemoryStore)
    return set(world.store.files)


async def finished(sweeper: Sweeper) -> None:
    """Takes steps until the sweep is over."""
    while await sweeper.step() == 0:
        pass


async def published(world: PublishingWorld, count: int) -> Repository:
    """A repository whose first bin changed so often."""
    first = await world.publisher()
    await first.start()
    await first.close()
    repository = await world.repository()
    await more(repository, count)
    return repository


async def more(repository: Repository, count: int) -> None:
    for _ in range(count):
        await repository.publish(_nothing(), ["bins-0"])


def _nothing() -> Any:
    from wharfinger_daemon.metadata.planning import Change

    return Change()


def test_a_version_below_the_one_that_was_shown_then_is_sweepable_and_no_other() -> None:
    listed = [("bins-0", 1), ("bins-0", 2), ("bins-0", 3), ("bins-1", 1), ("root", 1), ("targets", 1), ("strange", 9)]
    found = survey(listed, {"bins-0": 3, "bins-1": 1, "targets": 2}, {"bins-0": 2, "bins-1": 1})
    assert ([("bins-0", 1)], 6) == (found.sweepable, found.kept)


def test_what_is_published_stays_whatever_the_records_say() -> None:
    assert [] == survey([("bins-0", 3)], {"bins-0": 3}, {"bins-0": 9}).sweepable
    assert [] == survey([("bins-0", 3)], {}, {"bins-0": 9}).sweepable


@given(
    st.lists(st.tuples(st.sampled_from(["bins-0", "bins-1", "snapshot", "root", "targets"]), st.integers(1, 9))),
    st.dictionaries(st.sampled_from(["bins-0", "bins-1", "snapshot", "targets"]), st.integers(1, 9)),
    st.dictionaries(st.sampled_from(["bins-0", "bins-1", "snapshot"]), st.integers(1, 9)),
)
def test_no_survey_gives_up_a_root_or_what_is_published_or_what_was_shown(
    listed: list[StoredFile], current: dict[str, int], shown: dict[str, int]
) -> None:
    found = survey(listed, current, shown)
    assert len(listed) == found.kept + len(found.sweepable)
    for role, version in found.sweepable:
        assert role not in ("root", "targets")
        assert version < current[role] and version < shown[role]


async def test_nothing_goes_that_was_in_use_within_the_time_of_grace(world: PublishingWorld) -> None:
    await published(world, 5)
    before = files_of(world)
    world.clock.advance(GRACE)
    await finished(Sweeper(retention_of(world)))
    assert before == files_of(world)


async def test_what_went_out_of_use_before_goes_and_the_rest_stays(world: PublishingWorld) -> None:
    repository = await published(world, 5)
    world.clock.advance(2 * GRACE)
    await more(repository, 2)
    retention = retention_of(world)
    await finished(Sweeper(retention))
    left = files_of(world)
    assert {"6.bins-0.json", "7.bins-0.json", "8.bins-0.json"} == {name for name in left if "bins-0" in name}
    assert {"6.snapshot.json", "7.snapshot.json", "8.snapshot.json"} == {name for name in left if "snapshot" in name}
    assert {"1.root.json", "1.targets.json", "1.bins.json", "1.bins-1.json", "timestamp.json"} <= left
    assert isinstance(retention.observer, CountingObserver)
    assert 10 == retention.observer.files


async def test_a_reader_of_any_snapshot_that_was_shown_within_the_time_of_grace_finds_all_of_it(
    world: PublishingWorld,
) -> None:
    repository = await published(world, 0)
    shown: list[tuple[Any, dict[str, int]]] = []
    for number in range(12):
        world.clock.advance(timedelta(minutes=25))
        await repository.publish(_nothing(), [f"bins-{number % 4}"])
        shown.append((world.clock.now(), dict(await published_versions(world.store))))
        await finished(Sweeper(retention_of(world)))
        for position, (_, versions) in enumerate(shown):
            superseded = shown[position + 1][0] if position + 1 < len(shown) else world.clock.now()
            if superseded >= world.clock.now() - GRACE:
                wanted = {f"{version}.{role}.json" for role, version in versions.items() if role != "timestamp"}
                assert wanted <= files_of(world)
    assert len([name for name in files_of(world) if "snapshot" in name]) < 6


async def test_what_is_prepared_and_not_yet_shown_stays(world: PublishingWorld) -> None:
    repository = await published(world, 3)
    world.clock.advance(2 * GRACE)
    world.signer.available = False
    with pytest.raises(UnavailableError):
        await more(repository, 1)
    await world.store.add([VersionedFile("bins-0", 5, b"prepared")])
    await finished(Sweeper(retention_of(world)))
    assert {"4.bins-0.json", "5.bins-0.json"} == {name for name in files_of(world) if "bins-0" in name}


async def test_files_of_which_the_records_know_nothing_stay(world: PublishingWorld) -> None:
    await published(world, 3)
    strange = [VersionedFile("bins-strange", 1, b"?"), VersionedFile("root", 7, b"?"), VersionedFile("bins", 2, b"?")]
    await world.store.add(strange)
    world.clock.advance(30 * GRACE)
    await finished(Sweeper(retention_of(world)))
    assert {"1.bins-strange.json", "7.root.json", "2.bins.json"} <= files_of(world)


async def test_a_clock_that_went_back_sweeps_nothing(world: PublishingWorld) -> None:
    await published(world, 5)
    before = files_of(world)
    world.clock.advance(timedelta(days=-30))
    await finished(Sweeper(retention_of(world)))
    assert before == files_of(world)


async def test_a_clock_that_is_far_ahead_sweeps_nothing_that_is_published(world: PublishingWorld) -> None:
    await published(world, 5)
    world.clock.advance(timedelta(days=3000))
    await finished(Sweeper(retention_of(world)))
    named = {f"{version}.{role}.json" for role, version in (await published_versions(world.store)).items()}
    assert named - {"6.timestamp.json"} <= files_of(world)


async def test_a_sweep_goes_in_bounded_steps(world: PublishingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = await published(world, 7)
    world.clock.advance(2 * GRACE)
    await more(repository, 1)
    removed: list[int] = []
    remove = world.store.remove

    async def count(files: Sequence[StoredFile]) -> None:
        removed.append(len(files))
        await remove(files)

    monkeypatch.setattr(world.store, "remove", count)
    await finished(Sweeper(retention_of(world)))
    assert [3, 3, 3, 3, 2] == removed


async def test_a_sweep_that_fails_is_told_and_tried_again_and_fails_no_publication(
    world: PublishingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = await published(world, 3)
    world.clock.advance(2 * GRACE)
    await more(repository, 1)

    async def fail(files: Sequence[StoredFile]) -> None:
        raise UnavailableError("Nothing may be removed here.", reason=Reason.STORE_UNAVAILABLE)

    sweeper = Sweeper(retention_of(world))
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "remove", fail)
        assert SETTINGS.interval_seconds == await sweeper.step()
    assert "1.bins-0.json" in files_of(world)
    await finished(sweeper)
    assert "1.bins-0.json" not in files_of(world)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def test_the_publisher_sweeps_between_publications(world: PublishingWorld) -> None:
    base = await world.publisher()
    publisher = Publisher(base._repository, EAGER, base._authority, Sweeper(retention_of(world)))
    await publisher.start()
    try:
        for number in range(5):
            await publisher.publish([target("file", bytes([number]))], [], timeout_seconds=20)
        world.clock.advance(2 * GRACE)
        await publisher.publish([target("file", b"new")], [], timeout_seconds=20)
        await until(lambda: "5.snapshot.json" not in files_of(world))
        assert "7.snapshot.json" in files_of(world)
        assert publisher.problem is None
    finally:
        await publisher.close()


async def test_the_settings_are_an_hour_and_ten_minutes_unless_told_otherwise() -> None:
    assert timedelta(minutes=70) == replace(RetentionSettings()).grace
