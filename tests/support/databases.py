"""A database of each kind, for tests that must pass on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.migrate import upgrade

KINDS = ("sqlite", "postgresql")


def new_database_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """A database with all tables, for one test."""
    if kind == "postgresql":
        url: str = request.getfixturevalue("postgresql").new_url()
        return url
    url = f"sqlite:///{folder / 'rows.db'}"
    with closing(Database(url)) as database:
        upgrade(database)
    return url


@contextmanager
def new_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Database]:
    """The same, open."""
    with closing(Database(new_database_url(kind, request, folder))) as database:
        yield database
