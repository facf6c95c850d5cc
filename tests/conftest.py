"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.databases import KINDS, new_database_url
from tests.support.postgresql_cluster import PostgresqlCluster, running_cluster

# How long an example takes says something of the machine, and nothing of the code.
hypothesis.settings.register_profile("without deadlines", deadline=None)
hypothesis.settings.load_profile("without deadlines")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlCluster]:
    """A PostgreSQL server; one for each worker, started when it is first wanted."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind with all tables, for one test."""
    return new_database_url(request.param, request, tmp_path)


@pytest.fixture
def postgresql_url(postgresql: PostgresqlCluster) -> str:
    """A PostgreSQL database with all tables, for one test."""
    return postgresql.new_url()
