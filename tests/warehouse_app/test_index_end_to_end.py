"""The index with all real parts: PostgreSQL, Redis, a Celery worker that forks, and the daemon with SoftHSM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select
from webob import Request

from tests.support.daemon_process import DaemonProcess, place_home, poll, run_cli
from tests.support.postgresql_cluster import PostgresqlCluster
from tests.warehouse_app.application import EVIL, Application, Index, Project
from tests.warehouse_app.redis_process import RedisProcess
from wharfinger_client import NotFoundError
from wharfinger_client.warehouse.delivery import target_of
from wharfinger_client.warehouse.outbox import jobs

ROOT = Path(__file__).parents[2]


@dataclass
class Site:
    """The index's web process (this one), its worker, and what they depend on."""

    application: Application
    settings_file: Path
    daemon: DaemonProcess
    broker: RedisProcess
    database: PostgresqlCluster
    worker: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "tests.warehouse_app.worker:celery", "worker"]
        with (self.settings_file.parent / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [*command, "--beat", "--concurrency=2", "--loglevel=INFO", "--without-gossip", "--without-mingle"],
                cwd=ROOT,
                env=os.environ | {"INDEX_SETTINGS": str(self.settings_file)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop_worker(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.worker is not None:
            os.killpg(self.worker.pid, number)
            self.worker.wait(60)
            self.worker = None

    def post(self, what: str, project: str, filename: str = "-", content: bytes = b"harmless") -> int:
        request = Request.blank(f"/{what}/{project}/{filename}", method="POST", body=content)
        status: int = request.get_response(self.application.wsgi).status_code
        return status

    def idle(self) -> bool:
        with self.application.sessions() as session:
            return session.execute(select(jobs.c.id).limit(1)).first() is None

    def settle(self) -> None:
        try:
            poll(self.idle, "all jobs are done", 90)
        except AssertionError:
            raise AssertionError((self.settings_file.parent / "worker.log").read_text()[-4000:]) from None

    def assert_published(self) -> None:
        """What clients see is what the database says, of every project."""
        models = Index(self.application.folder)
        with self.application.sessions() as session, self.daemon.client() as client:
            for project in session.scalars(select(Project.name)):
                pages = models.render(session, project)
                assert pages is not None
                for path, content in pages.pages.items():
                    assert target_of(path, content) == client.get_target("development", path).target

    def scanned(self) -> list[str]:
        with self.daemon.client() as client:
            return sorted(scan.subject.filename for scan in client.list_scans())


@pytest.fixture(scope="module")
def site(postgresql: PostgresqlCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    made = run_cli("init", "--development", "--home", str(folder / "pristine"), "--bins", "2")
    assert made.returncode == 0, made.stderr
    daemon = DaemonProcess(folder / "home", place_home(folder / "pristine", folder / "home"))
    broker = RedisProcess(folder)
    (folder / "index").mkdir()
    tls = folder / "home" / "tls"
    settings = {
        "database": postgresql.url(postgresql.new_database(upgraded=False)),
        "broker": broker.url,
        "folder": str(folder / "index"),
        "wharfinger.backend": "grpc",
        "wharfinger.repository": "development",
        "wharfinger.address": f"127.0.0.1:{daemon.ports['grpc']}",
        "wharfinger.tls.ca": str(tls / "ca.crt"),
        "wharfinger.tls.certificate": str(tls / "warehouse.crt"),
        "wharfinger.tls.key": str(tls / "warehouse.key"),
        "wharfinger.deadline.publish": "10",
    }
    settings_file = folder / "settings.json"
    settings_file.write_text(json.dumps(settings))
    application = Application(settings)
    application.create_tables()
    site = Site(application, settings_file, daemon, broker, postgresql)
    try:
        daemon.start()
        broker.start()
        site.start_worker()
        yield site
    finally:
        site.stop_worker()
        broker.stop()
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.stop()
        application.celery.close()
        application.engine.dispose()


def test_uploads_are_published_and_scanned_and_deletions_disappear(site: Site) -> None:
    assert 200 == site.post("upload", "first", "first-1.0.tar.gz")
    assert 200 == site.post("upload", "second", "second-1.0.tar.gz", EVIL)
    site.settle()
    site.assert_published()
    assert ["first-1.0.tar.gz", "second-1.0.tar.gz"] == site.scanned()
    site.post("yank", "first", "first-1.0.tar.gz")
    site.post("quarantine", "second")
    site.settle()
    site.assert_published()
    site.post("delete", "first")
    site.settle()
    with site.daemon.client() as client, pytest.raises(NotFoundError):
        client.get_target("development", "simple/first/index.html")


def _daemon_away(site: Site) -> Callable[[], None]:
    site.daemon.stop()
    return site.daemon.start


def _broker_away(site: Site) -> Callable[[], None]:
    site.broker.stop()
    return site.broker.start


def _worker_away(site: Site) -> Callable[[], None]:
    site.stop_worker()
    return site.start_worker


@pytest.mark.parametrize(
    "away",
    [_daemon_away, pytest.param(_broker_away, marks=pytest.mark.long), _worker_away],
    ids=["daemon", "broker", "worker"],
)
def test_uploads_go_on_while_a_part_is_away_and_nothing_is_lost_or_done_twice(
    site: Site, away: Callable[[Site], Callable[[], None]], request: pytest.FixtureRequest
) -> None:
    name = str(request.node.callspec.id)
    site.post("upload", name, f"{name}-1.0.tar.gz")
    back = away(site)
    try:
        for number in range(2, 6):
            assert 200 == site.post("upload", name, f"{name}-{number}.0.tar.gz", b"%d" % number)
        assert 200 == site.post("yank", name, f"{name}-1.0.tar.gz")
    finally:
        back()
    site.settle()
    site.assert_published()
    expected = [f"{name}-{number}.0.tar.gz" for number in range(1, 6)]
    assert expected == [filename for filename in site.scanned() if filename.startswith(name)]
