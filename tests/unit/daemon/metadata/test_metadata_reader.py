"""Readers see what is published, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from tests.support.publishing import PublishingWorld, target
from wharfinger_daemon.errors import CorruptStateError, InvalidRequestError, NotFoundError, Reason, UnavailableError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.metadata.publisher import Publisher
from wharfinger_daemon.metadata.reading import MetadataReader

BINS = HashBins(2)
PATH = next(f"file-{n}" for n in range(100) if BINS.role_for(f"file-{n}") == "bins-0")


@pytest.fixture
def files(world: PublishingWorld) -> dict[str, bytes]:
    assert isinstance(world.store, MemoryStore)
    return world.store.files


@pytest.fixture
def reader(world: PublishingWorld) -> MetadataReader:
    return MetadataReader(world.store, BINS)


@pytest.mark.parametrize(
    ("role", "version", "name"),
    [
        ("root", 0, "1.root.json"),
        ("root", 1, "1.root.json"),
        ("timestamp", 0, "timestamp.json"),
        ("timestamp", 2, "timestamp.json"),
        ("snapshot", 0, "2.snapshot.json"),
        ("snapshot", 1, "1.snapshot.json"),
        ("targets", 0, "1.targets.json"),
        ("bins", 0, "1.bins.json"),
        ("bins-0", 0, "2.bins-0.json"),
        ("bins-0", 1, "1.bins-0.json"),
        ("bins-3", 0, "1.bins-3.json"),
    ],
)
async def test_published_files_are_read_byte_for_byte(
    publisher: Publisher, reader: MetadataReader, files: dict[str, bytes], role: str, version: int, name: str
) -> None:
    await publisher.publish([target(PATH)], [], timeout_seconds=10)
    file = await reader.get(role, version)
    assert files[name] == file.content
    assert hashlib.sha256(files[name]).hexdigest() == file.etag
    assert {"timestamp.json": 2}.get(name, int(name.split(".")[0]) if name[0].isdigit() else 0) == file.version


async def test_a_reader_whose_copy_is_the_right_one_gets_no_content(
    publisher: Publisher, reader: MetadataReader
) -> None:
    first = await reader.get("snapshot")
    again = await reader.get("snapshot", if_none_match=first.etag)
    assert (None, first.version, first.etag) == (again.content, again.version, again.etag)
    assert (await reader.get("snapshot", if_none_match="0" * 64)).content is not None


@pytest.mark.parametrize(
    ("role", "version"),
    [("root", 2), ("timestamp", 1), ("snapshot", 3), ("bins-0", 3), ("bins-4", 0), ("unknown", 0), ("unknown", 1)],
)
async def test_what_is_not_published_is_not_found(
    publisher: Publisher, reader: MetadataReader, role: str, version: int
) -> None:
    await publisher.publish([target(PATH)], [], timeout_seconds=10)
    with pytest.raises(NotFoundError) as missing:
        await reader.get(role, version)
    assert (Reason.METADATA_NOT_FOUND, role) == (missing.value.reason, missing.value.details["role"])


async def test_what_is_prepared_and_not_published_is_not_seen(
    world: PublishingWorld, publisher: Publisher, reader: MetadataReader, files: dict[str, bytes]
) -> None:
    timestamp = files["timestamp.json"]
    await publisher.publish([target(PATH)], [], timeout_seconds=10)
    files["timestamp.json"] = timestamp
    assert 1 == (await reader.get("bins-0")).version
    for role in ("bins-0", "snapshot", "timestamp"):
        with pytest.raises(NotFoundError):
            await reader.get(role, 2)
    with pytest.raises(NotFoundError) as missing:
        await reader.target(PATH)
    assert Reason.TARGET_NOT_FOUND == missing.value.reason


@pytest.mark.parametrize(
    ("role", "version"),
    [
        ("", 0),
        ("../ceremony/root-1", 0),
        ("a/b", 1),
        ("a\x00", 1),
        ("Root", 1),
        ("1.root", 0),
        ("a" * 65, 0),
        ("root", -1),
    ],
)
async def test_names_that_are_no_roles_are_refused(
    publisher: Publisher, reader: MetadataReader, role: str, version: int
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await reader.get(role, version)
    assert Reason.MALFORMED_REQUEST == refused.value.reason


async def test_a_version_that_is_no_longer_kept_is_not_found(
    publisher: Publisher, reader: MetadataReader, files: dict[str, bytes]
) -> None:
    await publisher.publish([target(PATH)], [], timeout_seconds=10)
    del files["1.bins-0.json"]
    with pytest.raises(NotFoundError):
        await reader.get("bins-0", 1)


async def test_before_the_first_publication_there_is_only_root(world: PublishingWorld, reader: MetadataReader) -> None:
    assert 1 == (await reader.get("root")).version
    for role in ("timestamp", "snapshot", "targets", "bins-0"):
        with pytest.raises(NotFoundError):
            await reader.get(role)
    with pytest.raises(NotFoundError):
        await reader.target(PATH)
    assert {} == await published_versions(world.store)


async def test_the_newest_root_is_the_highest_one(reader: MetadataReader, files: dict[str, bytes]) -> None:
    files["2.root.json"], files["3.root.json"], files["5.root.json"] = b"2", b"3", b"5"
    assert (b"3", 3) == ((await reader.get("root")).content, (await reader.get("root")).version)


async def test_without_any_root_none_is_found(reader: MetadataReader, files: dict[str, bytes]) -> None:
    del files["1.root.json"]
    with pytest.raises(NotFoundError):
        await reader.get("root")


async def test_a_target_is_read_from_the_published_bin(publisher: Publisher, reader: MetadataReader) -> None:
    await publisher.publish([target(PATH, b"abc")], [], timeout_seconds=10)
    found = await reader.target(PATH)
    assert (target(PATH, b"abc"), "bins-0", 2) == (found.target, found.role, found.role_version)
    assert found.expires.tzinfo is not None


async def test_a_target_that_is_not_listed_is_not_found(publisher: Publisher, reader: MetadataReader) -> None:
    with pytest.raises(NotFoundError) as missing:
        await reader.target(PATH)
    assert (Reason.TARGET_NOT_FOUND, PATH) == (missing.value.reason, missing.value.details["path"])


async def test_what_is_no_target_path_is_refused(reader: MetadataReader) -> None:
    with pytest.raises(InvalidRequestError):
        await reader.target("../up")


DAMAGE: dict[str, Callable[[dict[str, bytes]], object]] = {
    "the timestamp is garbage": lambda files: files.update({"timestamp.json": b"\xff"}),
    "the timestamp is a snapshot": lambda files: files.update({"timestamp.json": files["1.snapshot.json"]}),
    "the snapshot is missing": lambda files: files.pop("1.snapshot.json"),
    "the snapshot is another": lambda files: files.update({"1.snapshot.json": b"{}"}),
    "the bin is missing": lambda files: files.pop("1.bins-0.json"),
    "the bin is garbage": lambda files: files.update({"1.bins-0.json": b"{}"}),
    "the bin is another version": lambda files: files.update(
        {"1.bins-0.json": files["1.bins-0.json"].replace(b'"version":1', b'"version":2')}
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_a_damaged_store_is_reported_as_such(
    publisher: Publisher, reader: MetadataReader, files: dict[str, bytes], what: str
) -> None:
    undamaged = dict(files)
    DAMAGE[what](files)
    with pytest.raises(CorruptStateError) as damaged:
        await reader.target(PATH)
    assert Reason.REPOSITORY_INVALID == damaged.value.reason
    files.update(undamaged)


async def test_a_store_that_does_not_answer_is_unavailable(world: PublishingWorld, reader: MetadataReader) -> None:
    assert isinstance(world.store, MemoryStore)
    world.store.available = False
    with pytest.raises(UnavailableError):
        await reader.get("timestamp")
