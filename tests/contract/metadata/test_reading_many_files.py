"""Many files are read as one by one."""

from __future__ import annotations

from wharfinger_daemon.metadata.ports import MetadataStore, VersionedFile


async def test_many_files_are_read_in_the_order_that_was_asked_for(store: MetadataStore) -> None:
    await store.add([VersionedFile("bins-0", 1, b"zero"), VersionedFile("bins-1", 7, b"one")])
    asked = [("bins-1", 7), ("bins-1", 1), ("bins-0", 1), ("timestamp", 0)]
    assert [b"one", None, b"zero", None] == await store.read_all(asked)
    assert [] == await store.read_all([])
