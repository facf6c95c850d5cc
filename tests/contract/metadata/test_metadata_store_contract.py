"""What every metadata store does."""

from __future__ import annotations

import pytest

from wharfinger_daemon.errors import CorruptStateError, InvalidRequestError, Reason, StartupError
from wharfinger_daemon.metadata.ports import MetadataStore, VersionedFile


async def test_an_empty_store_has_no_files(store: MetadataStore) -> None:
    assert (None, None) == (await store.read("root", 1), await store.read("timestamp", 0))


async def test_files_are_read_as_they_were_added(store: MetadataStore) -> None:
    await store.add(
        [VersionedFile("bins-0", 1, b"first"), VersionedFile("bins-0", 2, b""), VersionedFile("a", 1, b"a")]
    )
    assert (b"first", b"", b"a") == (
        await store.read("bins-0", 1),
        await store.read("bins-0", 2),
        await store.read("a", 1),
    )
    assert await store.read("bins-0", 3) is None


async def test_adding_the_same_file_again_changes_nothing(store: MetadataStore) -> None:
    for _ in range(2):
        await store.add([VersionedFile("snapshot", 1, b"content")])
    assert b"content" == await store.read("snapshot", 1)


async def test_a_version_never_gets_another_content(store: MetadataStore) -> None:
    await store.add([VersionedFile("snapshot", 1, b"content")])
    with pytest.raises(CorruptStateError) as refused:
        await store.add([VersionedFile("bins-0", 1, b"fine"), VersionedFile("snapshot", 1, b"other")])
    assert (Reason.REPOSITORY_INVALID, "1.snapshot.json") == (refused.value.reason, refused.value.details["file"])
    assert b"content" == await store.read("snapshot", 1)


async def test_the_timestamp_is_replaced(store: MetadataStore) -> None:
    before = None
    for content in (b"first", b"second"):
        for _ in range(2):  # The second time as after an answer that was lost.
            await store.replace_timestamp(content, replacing=before)
            assert content == await store.read("timestamp", 0)
        before = content


@pytest.mark.parametrize("seen", [None, b"first", b""])
async def test_timestamp_of_another_publisher_is_not_replaced(store: MetadataStore, seen: bytes | None) -> None:
    await store.replace_timestamp(b"first", replacing=None)
    await store.replace_timestamp(b"of another", replacing=b"first")
    with pytest.raises(CorruptStateError) as refused:
        await store.replace_timestamp(b"second", replacing=seen)
    assert Reason.FENCED == refused.value.reason
    assert b"of another" == await store.read("timestamp", 0)


@pytest.mark.parametrize("role", ["../secret", "a/b", "", "a\x00", "a" * 65])
async def test_no_path_can_be_had_for_a_role(store: MetadataStore, role: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await store.read(role, 1)
    assert Reason.MALFORMED_REQUEST == refused.value.reason
    with pytest.raises(InvalidRequestError):
        await store.add([VersionedFile(role, 1, b"content")])


async def test_only_one_publisher_gets_in_at_a_time(store: MetadataStore) -> None:
    await store.lock()
    with pytest.raises(StartupError) as refused:
        await store.lock()
    assert Reason.PUBLISHER_RUNNING == refused.value.reason
    await store.unlock()
    await store.unlock()
    await store.lock()
    await store.unlock()


async def test_files_that_are_absent_or_empty_are_named(store: MetadataStore) -> None:
    await store.add([VersionedFile("bins-0", 1, b"first"), VersionedFile("bins-1", 1, b"")])
    asked = [("bins-0", 1), ("bins-1", 1), ("bins-0", 2)]
    assert asked[1:] == await store.absent(asked)


async def test_a_staged_note_is_kept_replaced_and_thrown_away(store: MetadataStore) -> None:
    assert await store.staged() is None
    for content in (b"first", b"second", b""):
        await store.stage(content)
        assert content == await store.staged()
    for _ in range(2):
        await store.stage(None)
        assert await store.staged() is None


async def test_versioned_files_are_listed_and_nothing_else(store: MetadataStore) -> None:
    assert [] == list(await store.listed())
    await store.add([VersionedFile("bins-0", 12, b"a"), VersionedFile("root", 1, b"b"), VersionedFile("bins", 3, b"")])
    await store.replace_timestamp(b"timestamp", replacing=None)
    await store.stage(b"note")
    assert [("bins", 3), ("bins-0", 12), ("root", 1)] == sorted(await store.listed())


async def test_removed_files_are_gone_and_removing_them_again_is_no_error(store: MetadataStore) -> None:
    await store.add([VersionedFile("bins-0", version, b"content") for version in (1, 2, 3)])
    for _ in range(2):
        await store.remove([("bins-0", 1), ("bins-0", 2), ("bins-7", 1)])
    assert [("bins-0", 3)] == list(await store.listed())
    assert await store.read("bins-0", 1) is None
    await store.remove([])


@pytest.mark.parametrize("file", [("root", 1), ("timestamp", 0), ("bins-0", 0), ("../secret", 1), ("bins-0", -1)])
async def test_roots_and_what_has_no_version_are_never_removed(store: MetadataStore, file: tuple[str, int]) -> None:
    await store.add([VersionedFile("bins-0", 1, b"content"), VersionedFile("root", 1, b"root")])
    await store.replace_timestamp(b"timestamp", replacing=None)
    with pytest.raises(InvalidRequestError) as refused:
        await store.remove([("bins-0", 1), file])
    assert Reason.MALFORMED_REQUEST == refused.value.reason
    assert (b"content", b"root", b"timestamp") == (
        await store.read("bins-0", 1),
        await store.read("root", 1),
        await store.read("timestamp", 0),
    )
