"""Every implementation of the metadata store, and the records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.object_storage import ObjectStorage
from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.metadata_bucket import MetadataBucket
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory


@pytest.fixture(scope="session")
def object_storage() -> Iterator[ObjectStorage]:
    """A server of object storage, for all tests of a process."""
    with ObjectStorage() as server:
        yield server


@pytest.fixture(params=["memory", "directory", "bucket"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MetadataStore]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "directory":
        yield MetadataDirectory(tmp_path)
    else:
        server: ObjectStorage = request.getfixturevalue("object_storage")
        bucket = MetadataBucket(server.new_bucket())
        yield bucket
        await bucket.unlock()
        bucket.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as opened:
        yield opened
