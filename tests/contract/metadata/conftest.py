"""Every implementation of the metadata store, and the records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory
from wharfinger_daemon.storage.migrate import upgrade


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MetadataStore:
    return MemoryStore() if request.param == "memory" else MetadataDirectory(tmp_path)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'rows.db'}")
    upgrade(opened)
    yield opened
    opened.close()
