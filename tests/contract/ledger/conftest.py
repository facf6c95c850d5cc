"""Every implementation of the ledger, to pass the same tests."""

from datetime import UTC, datetime

import pytest

from wharfinger_daemon.signing.ledger import Epoch, Reservation
from wharfinger_daemon.signing.memory_ledger import MemoryLedger
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.migrate import upgrade


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request):
    if request.param == "memory":
        return MemoryLedger()
    return SqlLedger(Journal(request.getfixturevalue("database")))


@pytest.fixture
def at():
    return datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def reservation():
    epoch = Epoch("a" * 64)

    def make(version, content="x", role="bins-0", epoch=epoch, keyid="key", meta=None):
        return Reservation(epoch, role, version, content.encode().ljust(32), keyid, meta or {})

    return make
