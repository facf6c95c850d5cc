"""The index on a real PostgreSQL, with a fake daemon in memory, and no broker unless the test has one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy.orm import close_all_sessions, sessionmaker

from tests.support.postgresql_cluster import PostgresqlCluster
from tests.warehouse_app.application import EVIL, Application, Index
from wharfinger_client import Classification
from wharfinger_client.testing import BENIGN, FakeDaemon, Judgement
from wharfinger_client.warehouse import (
    Delivery,
    GrpcScanService,
    GrpcSigningService,
    Job,
    JobKind,
    Outbox,
    Services,
    listen,
)


@dataclass
class Bench:
    """The index's models, listeners and delivery around a fake daemon. ``told`` is what workers were told."""

    application: Application
    daemon: FakeDaemon
    told: list[Job] = field(default_factory=list)
    disabled: set[JobKind] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.models = Index(self.application.folder)
        client = self.daemon.client()
        services = Services(GrpcSigningService(client, "pypi"), GrpcScanService(client), self.disabled.__contains__)
        self.outbox = Outbox(self.application.sessions)
        self.delivery = Delivery(self.outbox, self.models, services)

    def due(self) -> set[Job]:
        return set(self.outbox.due(0, 1000))

    def pages(self) -> set[str]:
        return set(self.daemon.targets["pypi"])


@pytest.fixture(scope="session")
def index_database(postgresql: PostgresqlCluster) -> str:
    """One for all tests of a process, which empty it: making many costs more than all the tests."""
    return postgresql.url(postgresql.new_database(upgraded=False))


@pytest.fixture
def bench(index_database: str, tmp_path: Path) -> Iterator[Bench]:
    settings = {"database": index_database, "broker": "redis://127.0.0.1:1/0", "folder": str(tmp_path)}
    application = Application(settings | {"wharfinger.backend": "null"})
    application.create_tables()
    # Sessions of its own, which only the listeners of the bench hear.
    application.sessions = sessionmaker(application.engine)
    daemon = FakeDaemon(judge=lambda content: Judgement(Classification.THREAT) if EVIL in content else BENIGN)
    bench = Bench(application, daemon)
    stop = listen(application.sessions, bench.models, bench.told.append)
    yield bench
    stop()
    close_all_sessions()
    application.drop_tables()
    application.engine.dispose()
