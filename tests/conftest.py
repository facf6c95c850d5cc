"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support.databases import KINDS, new_database_url
from tests.support.postgresql_cluster import PostgresqlCluster, running_cluster

# How long an example takes says something of the machine, and nothing of the code.
hypothesis.settings.register_profile("without deadlines", deadline=None)
hypothesis.settings.load_profile("without deadlines")


# A PKCS#11 module is loaded once in a process; the tests of modules that wrap one another keep their order.
_OF_ONE_TOKEN = ("tests/contract/hsm", "tests/contract/hsm_modules", "tests/integration/hsm", "tests/unit/hsm")


class _ByFile(LoadFileScheduling):
    """A file is run by one worker: what its module's fixtures start, they start once."""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        return "the token" if str(file.parent) in _OF_ONE_TOKEN else str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return _ByFile(config, log)


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
