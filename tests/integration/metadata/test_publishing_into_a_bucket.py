"""Publishing into object storage that fails, answers late or not at all, and is shared with another publisher."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.support.faulty_server import Fault, FaultyServer
from tests.support.object_storage import ObjectStorage
from wharfinger_daemon.errors import CorruptStateError, Reason, StartupError, UnavailableError
from wharfinger_daemon.metadata.ports import VersionedFile
from wharfinger_daemon.storage.bucket_objects import Bucket
from wharfinger_daemon.storage.metadata_bucket import MetadataBucket

OF_THE_WAY = [fault for fault in Fault if fault is not Fault.CONFLICT]
FILES = [VersionedFile(f"bins-{number}", 1, f"content {number}".encode()) for number in range(20)]


@pytest.fixture(scope="module")
def object_storage() -> Iterator[ObjectStorage]:
    with ObjectStorage() as server:
        yield server


@pytest.fixture
def faulty(object_storage: ObjectStorage) -> Iterator[FaultyServer]:
    with FaultyServer(object_storage.url) as server:
        yield server


@pytest.fixture
def bucket(object_storage: ObjectStorage, faulty: FaultyServer) -> Bucket:
    """A new bucket, reached by way of the faulty server."""
    return replace(object_storage.new_bucket(), endpoint_url=faulty.url)


@pytest.fixture
async def store(bucket: Bucket) -> AsyncIterator[MetadataBucket]:
    opened = MetadataBucket(bucket)
    yield opened
    with suppress(UnavailableError):
        await opened.unlock()
    opened.close()


@pytest.fixture
async def other(bucket: Bucket, object_storage: ObjectStorage) -> AsyncIterator[MetadataBucket]:
    """Another publisher on the same bucket, by a way of its own."""
    opened = MetadataBucket(replace(bucket, endpoint_url=object_storage.url))
    yield opened
    await opened.unlock()
    opened.close()


@pytest.mark.parametrize("fault", OF_THE_WAY, ids=lambda fault: fault.name)
async def test_one_fault_is_not_noticed_and_no_version_is_written_twice(
    store: MetadataBucket, faulty: FaultyServer, fault: Fault
) -> None:
    faulty.next(fault)
    await store.add(FILES[:1])
    faulty.next(fault)
    await store.replace_timestamp(b"first", replacing=None)
    faulty.next(fault)
    await store.replace_timestamp(b"second", replacing=b"first")
    faulty.next(fault, method="GET")
    assert b"second" == await store.read("timestamp", 0)
    assert FILES[0].content == await store.read("bins-0", 1)


@pytest.mark.parametrize("fault", OF_THE_WAY, ids=lambda fault: fault.name)
async def test_what_failed_for_good_is_told_and_goes_on_when_it_is_repeated(
    store: MetadataBucket, faulty: FaultyServer, fault: Fault
) -> None:
    faulty.next(*[fault] * 3)  # As many times as the library tries.
    try:
        await store.add(FILES[:1])
    except UnavailableError as error:
        assert Reason.STORE_UNAVAILABLE == error.reason
    else:
        # It was done the first time, and the second one found it so.
        assert fault in (Fault.ANSWER_LOST, Fault.ANSWER_CUT)
    faulty.next()
    await store.add(FILES)
    assert [file.content for file in FILES] == await store.read_all([(file.role, file.version) for file in FILES])


async def test_lock_is_taken_and_kept_although_answers_are_lost(store: MetadataBucket, faulty: FaultyServer) -> None:
    faulty.next(Fault.ANSWER_LOST)
    await store.lock()
    for _ in range(3):
        before = faulty.requests
        faulty.next(Fault.ANSWER_LOST)
        while faulty.requests < before + 3:
            await asyncio.sleep(0.01)
    await store.add(FILES[:1])


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
async def test_server_that_ignores_conditions_is_refused(
    store: MetadataBucket, faulty: FaultyServer, header: str
) -> None:
    faulty.forget_header(header)
    with pytest.raises(StartupError, match=f"does not obey {header}") as refused:
        await store.lock()
    assert Reason.STORE_UNAVAILABLE == refused.value.reason


async def test_conflict_with_a_write_that_is_under_way_is_tried_again(
    store: MetadataBucket, faulty: FaultyServer
) -> None:
    faulty.next(Fault.CONFLICT)
    await store.add(FILES[:1])
    faulty.next(Fault.CONFLICT, Fault.CONFLICT)
    await store.replace_timestamp(b"1", replacing=None)
    assert [FILES[0].content, b"1"] == await store.read_all([("bins-0", 1), ("timestamp", 0)])


async def test_publisher_that_is_busy_keeps_its_lock(
    store: MetadataBucket, other: MetadataBucket, faulty: FaultyServer
) -> None:
    await store.add(FILES)
    await store.lock()

    def slowly(method: str, path: str) -> None:
        if method == "GET" and "bins-" in path:
            time.sleep(0.05)

    faulty.faults = slowly
    reading = asyncio.create_task(store.read_all([(file.role, 1) for file in FILES] * 20))
    with pytest.raises(StartupError):
        await other.lock()
    await reading


async def test_staged_note_of_the_next_publisher_survives_the_one_that_wakes(
    store: MetadataBucket, other: MetadataBucket, faulty: FaultyServer
) -> None:
    await store.lock()
    faulty.faults = lambda method, path: Fault.REFUSED
    await other.lock()
    await other.stage(b"of the next")
    faulty.faults = lambda method, path: None
    with pytest.raises(UnavailableError) as refused:
        await store.stage(None)
    assert Reason.FENCED == refused.value.reason
    assert b"of the next" == await other.staged()


async def test_second_publisher_is_refused_while_the_first_one_lives(
    store: MetadataBucket, other: MetadataBucket
) -> None:
    await store.lock()
    with pytest.raises(StartupError) as refused:
        await other.lock()
    assert Reason.PUBLISHER_RUNNING == refused.value.reason
    await store.unlock()
    await other.lock()


async def test_publisher_that_was_paused_loses_its_place_and_rolls_no_timestamp_back(
    store: MetadataBucket, other: MetadataBucket, faulty: FaultyServer
) -> None:
    await store.lock()
    await store.replace_timestamp(b"1", replacing=None)
    # Nothing of the first one arrives any more, as when its process or its network stands still.
    faulty.faults = lambda method, path: Fault.REFUSED
    await other.lock()
    await other.replace_timestamp(b"2", replacing=b"1")
    faulty.faults = lambda method, path: None
    with pytest.raises((CorruptStateError, UnavailableError)) as refused:
        await store.replace_timestamp(b"another 2", replacing=b"1")
    assert Reason.FENCED == refused.value.reason
    assert b"2" == await other.read("timestamp", 0)


async def test_write_that_was_on_its_way_when_another_went_on_changes_nothing(
    store: MetadataBucket, other: MetadataBucket, faulty: FaultyServer
) -> None:
    await store.replace_timestamp(b"1", replacing=None)
    arrived, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(method: str, path: str) -> None:
        if method == "PUT":
            loop.call_soon_threadsafe(arrived.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(20)

    faulty.faults = hold
    late = asyncio.create_task(store.replace_timestamp(b"another 2", replacing=b"1"))
    await arrived.wait()
    await other.replace_timestamp(b"2", replacing=b"1")
    go_on.set()
    with pytest.raises(CorruptStateError) as refused:
        await late
    assert Reason.FENCED == refused.value.reason
    assert b"2" == await other.read("timestamp", 0)


async def test_publisher_that_lost_its_place_writes_and_removes_nothing_more(
    store: MetadataBucket, other: MetadataBucket, faulty: FaultyServer
) -> None:
    await store.lock()
    await store.add(FILES[:1])
    faulty.faults = lambda method, path: Fault.REFUSED
    await other.lock()
    faulty.faults = lambda method, path: None
    while True:  # Until its next beat tells it.
        try:
            await store.stage(b"note")
        except UnavailableError as error:
            assert Reason.FENCED == error.reason
            break
        await asyncio.sleep(0.01)
    for call in (store.add(FILES[1:2]), store.remove([("bins-0", 1)]), store.replace_timestamp(b"1", replacing=None)):
        with pytest.raises(UnavailableError) as refused:
            await call
        assert Reason.FENCED == refused.value.reason
    assert [("bins-0", 1)] == list(await other.listed())
