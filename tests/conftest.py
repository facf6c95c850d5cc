"""What holds for all tests: which of them one worker of pytest-xdist runs, one after another; and the databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.databases import KINDS, new_database_url
from tests.support.postgresql_cluster import PostgresqlCluster, running_cluster

# A PKCS#11 module is loaded once in a process; the tests of modules that wrap one another keep their order.
_OF_ONE_TOKEN = ("contract/hsm", "contract/hsm_modules", "integration/hsm", "unit/hsm")


# How long an example takes says something of the machine, and nothing of the code.
hypothesis.settings.register_profile("without deadlines", deadline=None)
hypothesis.settings.load_profile("without deadlines")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xdist_group: also where pytest-xdist is switched off")


@pytest.hookimpl(tryfirst=True)  # Before pytest-xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file is run by one worker: what its module's fixtures start, they start once."""
    here = Path(__file__).parent
    for item in items:
        file = item.path.relative_to(here)
        group = "hsm" if str(file.parent) in _OF_ONE_TOKEN else str(file)
        item.add_marker(pytest.mark.xdist_group(group))


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
