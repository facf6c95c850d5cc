"""Every implementation of the metadata store, and the records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MetadataStore:
    return MemoryStore() if request.param == "memory" else MetadataDirectory(tmp_path)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as opened:
        yield opened
