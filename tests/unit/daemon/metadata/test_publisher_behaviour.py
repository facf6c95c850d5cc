"""The publisher, for its callers and by the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from tests.support.publishing import EAGER, PublishingWorld, target
from wharfinger_daemon.errors import (
    CorruptStateError,
    DeadlineError,
    InvalidRequestError,
    OverloadedError,
    Reason,
    RefusedError,
    StartupError,
    UnavailableError,
    WharfingerError,
)
from wharfinger_daemon.metadata import completion
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.planning import Change, OnlineKeys, Publication
from wharfinger_daemon.metadata.published import published_versions, read_offline_roles
from wharfinger_daemon.metadata.publisher import Publisher, PublisherSettings
from wharfinger_daemon.metadata.reading import MetadataReader
from wharfinger_daemon.storage import bin_sizes, schema

BINS = HashBins(2)
IN_BIN_0 = next(f"file-{n}" for n in range(100) if BINS.role_for(f"file-{n}") == "bins-0")
IN_BIN_1 = next(f"file-{n}" for n in range(100) if BINS.role_for(f"file-{n}") == "bins-1")


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Waits for a condition, which may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if await value if asyncio.iscoroutine(value) else value:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


def store_of(world: PublishingWorld) -> MemoryStore:
    assert isinstance(world.store, MemoryStore)
    return world.store


async def timestamp_version(world: PublishingWorld) -> int:
    return (await published_versions(world.store))["timestamp"]


async def visible(world: PublishingWorld, path: str) -> bool:
    try:
        await MetadataReader(world.store, BINS).target(path)
    except WharfingerError as error:
        assert Reason.TARGET_NOT_FOUND == error.reason
        return False
    return True


async def test_the_first_start_publishes_version_1_of_every_bin(world: PublishingWorld, publisher: Publisher) -> None:
    expected = {"timestamp": 1, "snapshot": 1, "targets": 1, "bins": 1} | dict.fromkeys(BINS.roles(), 1)
    assert expected == await published_versions(world.store)


async def test_a_published_target_is_visible_when_the_call_returns(
    world: PublishingWorld, publisher: Publisher
) -> None:
    result = await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    assert (2, 2, {"bins-0": 2}) == (result.timestamp_version, result.snapshot_version, result.bin_versions)
    assert await visible(world, IN_BIN_0)


async def test_a_removed_target_is_gone_when_the_call_returns(world: PublishingWorld, publisher: Publisher) -> None:
    await publisher.publish([target(IN_BIN_0), target(IN_BIN_1)], [], timeout_seconds=10)
    result = await publisher.publish([], [IN_BIN_0], timeout_seconds=10)
    assert {"bins-0": 3} == result.bin_versions
    assert (False, True) == (await visible(world, IN_BIN_0), await visible(world, IN_BIN_1))


@pytest.mark.parametrize(("add", "remove"), [([IN_BIN_0], []), ([], [IN_BIN_1]), ([], [])])
async def test_what_is_so_already_publishes_nothing(
    world: PublishingWorld, publisher: Publisher, add: list[str], remove: list[str]
) -> None:
    await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    files = dict(store_of(world).files)
    result = await publisher.publish([target(path) for path in add], remove, timeout_seconds=10)
    assert (2, 2, {}) == (result.timestamp_version, result.snapshot_version, result.bin_versions)
    assert files == store_of(world).files


async def test_changes_that_wait_together_share_one_publication(world: PublishingWorld, publisher: Publisher) -> None:
    calls = [publisher.publish([target(f"together/{n}")], [], timeout_seconds=10) for n in range(20)]
    results = await asyncio.gather(*calls)
    assert {2} == {result.timestamp_version for result in results}
    assert all({BINS.role_for(f"together/{n}"): 2} == result.bin_versions for n, result in enumerate(results)), (
        "each caller is told of its own bins"
    )


async def test_of_changes_that_wait_together_the_later_one_decides(
    world: PublishingWorld, publisher: Publisher
) -> None:
    await asyncio.gather(
        publisher.publish([target(IN_BIN_0, b"first")], [], timeout_seconds=10),
        publisher.publish([target(IN_BIN_0, b"second!")], [], timeout_seconds=10),
        publisher.publish([target(IN_BIN_1)], [], timeout_seconds=10),
        publisher.publish([], [IN_BIN_1], timeout_seconds=10),
    )
    assert len(b"second!") == (await MetadataReader(world.store, BINS).target(IN_BIN_0)).target.length
    assert not await visible(world, IN_BIN_1)


async def test_all_touched_bins_are_signed_in_one_batch(world: PublishingWorld, publisher: Publisher) -> None:
    before = len(world.signer.batches)
    await publisher.publish([target(f"spread/{n}") for n in range(50)], [], timeout_seconds=10)
    assert [4, 1, 1] == world.signer.batches[before:]


async def test_very_many_bins_are_signed_in_parts(world: PublishingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "BINS_AT_ONCE", 3)
    publisher = await world.publisher()
    await publisher.start()
    await publisher.close()
    assert [3, 1, 1, 1] == world.signer.batches


async def test_a_request_that_contradicts_itself_is_refused_before_it_waits(publisher: Publisher) -> None:
    with pytest.raises(InvalidRequestError):
        await publisher.publish([target("a")], ["a"], timeout_seconds=10)


async def test_when_the_signer_is_away_the_caller_is_told_and_the_change_follows(
    world: PublishingWorld, publisher: Publisher
) -> None:
    world.signer.available = False
    with pytest.raises(UnavailableError) as refused:
        await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    assert (Reason.PUBLICATION_FAILED, Reason.TOKEN_UNAVAILABLE) == (
        refused.value.reason,
        refused.value.details["cause"],
    )
    assert publisher.problem is not None
    assert not await visible(world, IN_BIN_0)
    with pytest.raises(UnavailableError):
        await publisher.publish([target(IN_BIN_1)], [], timeout_seconds=10)
    world.signer.available = True
    await until(lambda: visible(world, IN_BIN_0))
    await until(lambda: publisher.problem is None)
    assert not await visible(world, IN_BIN_1), "nothing is prepared before what was prepared is published"
    assert 2 == await timestamp_version(world)


async def test_when_the_store_is_away_the_change_follows(world: PublishingWorld, publisher: Publisher) -> None:
    store_of(world).available = False
    with pytest.raises(UnavailableError):
        await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    store_of(world).available = True
    result = await publisher.publish([target(IN_BIN_1)], [], timeout_seconds=10)
    assert {"bins-1": 2} == result.bin_versions
    assert await visible(world, IN_BIN_0)


async def test_versions_that_somebody_else_had_signed_are_evaded(world: PublishingWorld, publisher: Publisher) -> None:
    """There must not be two contents of one version, and a caller of the signer must not stop the publisher."""
    await publisher.publish([], [], timeout_seconds=10)
    [(_, signature)] = [value for key, value in world.signer.signed.items() if key == ("bins-0", 1)]
    world.signer.signed["bins-0", 2] = (b"something else", signature)
    world.signer.signed["timestamp", 9] = (b"something else", signature)
    result = await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    assert ({"bins-0": 3}, 10) == (dict(result.bin_versions), result.timestamp_version)
    assert await visible(world, IN_BIN_0)
    assert {"bins-0": 4} == dict((await publisher.publish([], [IN_BIN_0], timeout_seconds=10)).bin_versions)


async def test_a_refusal_by_the_signer_is_no_passing_trouble(
    world: PublishingWorld, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(documents: object) -> None:
        raise RefusedError("The token holds no such key.", reason=Reason.KEY_NOT_HELD)

    monkeypatch.setattr(world.signer, "sign", refuse)
    with pytest.raises(CorruptStateError) as refused:
        await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    assert Reason.KEY_NOT_HELD == refused.value.details["cause"]


async def test_an_error_that_nobody_foresaw_is_told_and_survived(
    world: PublishingWorld, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(world.signer, "sign", None)
        with pytest.raises(CorruptStateError) as refused:
            await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
        assert Reason.INTERNAL == refused.value.details["cause"]
    await until(lambda: visible(world, IN_BIN_0))


async def test_a_version_that_exists_with_another_content_is_never_overwritten(
    world: PublishingWorld, publisher: Publisher
) -> None:
    store_of(world).files["2.bins-0.json"] = b"something else"
    with pytest.raises(CorruptStateError) as refused:
        await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    assert Reason.REPOSITORY_INVALID == refused.value.details["cause"]
    assert b"something else" == store_of(world).files["2.bins-0.json"]
    assert 1 == await timestamp_version(world)


async def test_a_timestamp_that_is_newer_than_ours_is_never_replaced(world: PublishingWorld) -> None:
    first = await world.publisher()
    await first.start()
    await first.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    newest = store_of(world).files["timestamp.json"]
    await first.close()
    repository = await world.repository()
    await world.records.mark_published(Publication(2, 2, {}, published=False), world.clock.now())
    store_of(world).files["timestamp.json"] = newest.replace(b'"version":2}', b'"version":9}')
    with pytest.raises(CorruptStateError):
        await repository.publish(Change({IN_BIN_1: target(IN_BIN_1)}))
    assert b'"version":9}' in store_of(world).files["timestamp.json"]


async def test_time_that_runs_out_in_the_queue_withdraws_the_change(world: PublishingWorld) -> None:
    publisher = await world.publisher(PublisherSettings(max_waiting=1))
    publisher_not_started = publisher.publish([target(IN_BIN_0)], [], timeout_seconds=0.01)
    with pytest.raises(DeadlineError) as late:
        await publisher_not_started
    assert "Nothing of it was recorded" in late.value.message
    await publisher.start()
    assert not await visible(world, IN_BIN_0)
    await publisher.close()


async def test_time_that_runs_out_later_leaves_the_change_to_be_published(
    world: PublishingWorld, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign, going_on = world.signer.sign, asyncio.Event()

    async def sign_slowly(documents: Any) -> Any:
        await going_on.wait()
        return await sign(documents)

    monkeypatch.setattr(world.signer, "sign", sign_slowly)
    with pytest.raises(DeadlineError) as late:
        await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=0.2)
    assert "may still become visible" in late.value.message
    going_on.set()
    await until(lambda: visible(world, IN_BIN_0))


async def test_a_caller_that_goes_away_withdraws_its_change(world: PublishingWorld) -> None:
    publisher = await world.publisher(PublisherSettings(max_waiting=1))
    gone = asyncio.create_task(publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await publisher.publish([target(IN_BIN_1)], [], timeout_seconds=10)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await publisher.start()
    assert not await visible(world, IN_BIN_0)
    await publisher.close()


async def test_a_closed_publisher_refuses_changes_and_lets_another_in(world: PublishingWorld) -> None:
    first = await world.publisher()
    await first.start()
    second = await world.publisher()
    with pytest.raises(StartupError) as busy:
        await second.start()
    assert Reason.PUBLISHER_RUNNING == busy.value.reason
    await first.close()
    with pytest.raises(UnavailableError) as refused:
        await first.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    assert Reason.DRAINING == refused.value.reason
    await second.start()
    await second.close()


async def test_closing_finishes_the_publication_that_runs_and_refuses_what_waits(
    world: PublishingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = await world.publisher()
    await publisher.start()
    sign, begun, going_on = world.signer.sign, asyncio.Event(), asyncio.Event()

    async def sign_slowly(documents: Any) -> Any:
        begun.set()
        await going_on.wait()
        return await sign(documents)

    monkeypatch.setattr(world.signer, "sign", sign_slowly)
    running = asyncio.create_task(publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10))
    await begun.wait()
    waiting = asyncio.create_task(publisher.publish([target(IN_BIN_1)], [], timeout_seconds=10))
    closing = asyncio.create_task(publisher.close())
    await asyncio.sleep(0)
    going_on.set()
    assert {"bins-0": 2} == (await running).bin_versions
    with pytest.raises(UnavailableError) as refused:
        await waiting
    assert Reason.DRAINING == refused.value.reason
    await closing


async def test_what_runs_out_is_renewed_by_the_clock(world: PublishingWorld, publisher: Publisher) -> None:
    await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    world.clock.advance(timedelta(hours=13))
    await until(lambda: _renewed(world))
    assert await visible(world, IN_BIN_0)


async def test_a_renewal_that_fails_does_not_take_back_what_was_published(
    world: PublishingWorld, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(keys: OnlineKeys, limit: int) -> Any:
        raise UnavailableError("The records are away.", reason=Reason.DATABASE_UNAVAILABLE)

    with monkeypatch.context() as broken:
        broken.setattr(world.records, "signed_by_others", fail)
        await until(lambda: publisher.problem is not None)
        results = [await _try(publisher, f"file-{n}") for n in range(20)]
        await until(lambda: publisher.problem is not None)
    await until(lambda: publisher.problem is None)
    for number, acknowledged in enumerate(results):
        assert await visible(world, f"file-{number}") or not acknowledged


async def _try(publisher: Publisher, path: str) -> bool:
    try:
        await publisher.publish([target(path)], [], timeout_seconds=10)
    except UnavailableError:
        return False
    return True


async def _renewed(world: PublishingWorld) -> bool:
    states = await world.records.states()
    left = [state.expires - world.clock.now() for role, state in states.items() if role not in ("targets", "bins")]
    newest = await world.records.newest()
    return min(left) > timedelta(hours=12) and newest is not None and newest.published


async def test_nothing_is_renewed_while_no_time_goes_by(world: PublishingWorld, publisher: Publisher) -> None:
    signed = len(world.signer.batches)
    await asyncio.sleep(5 * EAGER.renewal_check_seconds)
    assert signed == len(world.signer.batches)


async def test_a_start_after_a_long_pause_renews_everything_in_parts(world: PublishingWorld) -> None:
    first = await world.publisher()
    await first.start()
    await first.close()
    world.clock.advance(timedelta(days=30))
    seen = ObservedPublications()
    second = await world.publisher(PublisherSettings(max_renewed_at_once=2), observer=seen)
    await second.start()
    await second.close()
    assert await _renewed(world)
    assert all(len(publication.bins) <= 2 for publication in seen.publications)
    assert {"root", "targets", "bins", "bin-n", "snapshot", "timestamp"} == set(seen.earliest)
    assert min(seen.earliest.values()) > world.clock.now() + timedelta(hours=23)


class ObservedPublications:
    """Implements ``PublicationObserver``."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self.earliest: dict[str, datetime] = {}

    def published(self, publication: Publication) -> None:
        self.publications.append(publication)

    def signed_bins(self, number: int, of: int) -> None:
        self.signed = number, of

    def expires(self, earliest: Mapping[str, datetime]) -> None:
        self.earliest.update(earliest)


async def test_a_start_that_fails_leaves_the_store_unlocked(world: PublishingWorld) -> None:
    world.signer.available = False
    publisher = await world.publisher()
    with pytest.raises(UnavailableError):
        await publisher.start()
    world.signer.available = True
    again = await world.publisher()
    await again.start()
    await again.close()
    await publisher.close()


async def _published(world: PublishingWorld) -> None:
    publisher = await world.publisher()
    await publisher.start()
    await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    await publisher.close()


async def test_a_database_that_is_an_old_copy_is_refused(world: PublishingWorld) -> None:
    await _published(world)
    with world.database.engine.begin() as connection:
        connection.execute(delete(schema.publications).where(schema.publications.c.timestamp_version == 2))
    await refuses_to_start(world, Reason.RECORDS_BEHIND)


async def test_a_database_that_knows_nothing_of_what_is_published_is_refused(world: PublishingWorld) -> None:
    await _published(world)
    with world.database.engine.begin() as connection:
        connection.execute(delete(schema.publications))
    await refuses_to_start(world, Reason.RECORDS_BEHIND)


async def test_a_store_that_lost_its_newest_metadata_is_refused(world: PublishingWorld) -> None:
    await _published(world)
    del store_of(world).files["timestamp.json"]
    await refuses_to_start(world, Reason.REPOSITORY_INVALID)


async def test_another_number_of_bins_is_refused(world: PublishingWorld) -> None:
    await _published(world)
    with world.database.engine.begin() as connection:
        connection.execute(delete(schema.metadata_roles).where(schema.metadata_roles.c.role == "bins-3"))
    await refuses_to_start(world, Reason.REPOSITORY_INVALID)


async def refuses_to_start(world: PublishingWorld, reason: Reason) -> None:
    publisher = await world.publisher()
    with pytest.raises(StartupError) as refused:
        await publisher.start()
    assert reason == refused.value.reason


async def test_rows_that_contradict_a_prepared_publication_are_refused(world: PublishingWorld) -> None:
    world.signer.available = False
    publisher = await world.publisher()
    with pytest.raises(UnavailableError):
        await publisher.start()
    with world.database.engine.begin() as connection:
        connection.execute(
            update(schema.metadata_roles).where(schema.metadata_roles.c.role == "snapshot").values(version=5)
        )
    with pytest.raises(CorruptStateError) as refused:
        await (await world.repository()).finish()
    assert (Reason.PUBLICATION_FAILED, "snapshot") == (refused.value.reason, refused.value.details["role"])


async def test_a_store_without_offline_metadata_cannot_be_published(world: PublishingWorld) -> None:
    store_of(world).files.clear()
    with pytest.raises(StartupError) as refused:
        await read_offline_roles(world.store)
    assert "1.targets.json" == refused.value.details["file"]


async def test_targets_without_a_delegation_to_hash_bins_cannot_be_published(world: PublishingWorld) -> None:
    files = store_of(world).files
    files["1.bins.json"] = files["1.targets.json"]
    with pytest.raises(StartupError) as refused:
        await read_offline_roles(world.store)
    assert Reason.REPOSITORY_INVALID == refused.value.reason


async def test_before_the_first_publication_the_newest_offline_files_count(world: PublishingWorld) -> None:
    files = store_of(world).files
    files["2.bins.json"] = files["1.bins.json"].replace(b'"version":1', b'"version":2')
    files["2.bins.json"] = files["2.bins.json"].replace(b'"version": 1', b'"version": 2')
    offline = await read_offline_roles(world.store)
    assert [("targets", 1), ("bins", 2)] == [(state.role, state.version) for state in offline.states]
    assert BINS == offline.bins


async def test_change_that_clients_could_not_read_is_refused_and_the_others_are_published(
    world: PublishingWorld, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bin that is larger than clients' limit would take all its targets from them."""
    monkeypatch.setattr(bin_sizes, "LARGEST_LISTING", 600)  # Three of these targets.
    full = [f"file-{n}" for n in range(200) if BINS.role_for(f"file-{n}") == "bins-0"][:9]
    few, many, other = await asyncio.gather(
        publisher.publish([target(full[0])], [], timeout_seconds=10),
        publisher.publish([target(path) for path in full[1:]], [], timeout_seconds=10),
        publisher.publish([target(IN_BIN_1)], [], timeout_seconds=10),
        return_exceptions=True,
    )
    assert isinstance(many, RefusedError)
    assert (Reason.BIN_FULL, "bins-0") == (many.reason, many.details["role"])
    assert not isinstance(few, BaseException) and not isinstance(other, BaseException)
    assert [True, True] == [await visible(world, path) for path in (full[0], IN_BIN_1)]
    assert not await visible(world, full[1])
    assert publisher.problem is None
    await publisher.publish([target(full[1]), target(full[2])], [full[0]], timeout_seconds=10)
    monkeypatch.setattr(bin_sizes, "LARGEST_LISTING", 100)
    await publisher.publish([], [full[1]], timeout_seconds=10)
    assert not await visible(world, full[1])
