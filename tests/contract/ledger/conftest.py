"""Every implementation of the ledger, to pass the same tests."""

from contextlib import closing
from datetime import UTC, datetime

import pytest

from tests.support.databases import KINDS, new_database
from wharfinger_daemon.signing.ledger import Epoch, Reservation
from wharfinger_daemon.signing.memory_ledger import MemoryLedger
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger


@pytest.fixture
def database(database_url):
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture(params=["memory", *KINDS])
def ledger(request, tmp_path):
    if request.param == "memory":
        yield MemoryLedger()
        return
    with new_database(request.param, request, tmp_path) as database:
        yield SqlLedger(Journal(database))


@pytest.fixture
def at():
    return datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def reservation():
    epoch = Epoch("a" * 64)

    def make(version, content="x", role="bins-0", epoch=epoch, keyid="key", meta=None):
        return Reservation(epoch, role, version, content.encode().ljust(32), keyid, meta or {})

    return make
