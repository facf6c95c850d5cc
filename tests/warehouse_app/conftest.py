"""The index on a real PostgreSQL, with a fake daemon in memory, and no broker unless the test has one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy.orm import close_all_sessions

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


@pytest.fixture
def settings(postgresql: PostgresqlCluster, tmp_path: Path) -> dict[str, str]:
    name = postgresql.new_database(upgraded=False)
    folder = tmp_path / "index"
    folder.mkdir()
    return {"database": postgresql.url(name), "broker": "redis://127.0.0.1:1/0", "folder": str(folder)}


@pytest.fixture
def bench(settings: dict[str, str]) -> Iterator[Bench]:
    from sqlalchemy.orm import sessionmaker

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
    application.engine.dispose()
