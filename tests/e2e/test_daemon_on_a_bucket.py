"""Daemons whose metadata is in object storage."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, free_port, poll, run_cli
from tests.support.load import REPOSITORY, target
from tests.support.object_storage import ObjectStorage
from tests.support.postgresql_cluster import PostgresqlCluster
from wharfinger_client import WharfingerError
from wharfinger_daemon.storage.bucket_objects import Bucket, BucketObjects


@pytest.fixture(scope="module")
def object_storage() -> Iterator[ObjectStorage]:
    with ObjectStorage() as server:
        yield server


@pytest.fixture
def bucket(object_storage: ObjectStorage) -> Bucket:
    return object_storage.new_bucket()


@pytest.fixture
def daemon(home: DaemonProcess, bucket: Bucket) -> DaemonProcess:
    """A home whose repository was moved into a bucket; its daemon does not run yet."""
    objects = BucketObjects(bucket)
    for file in (home.home / "metadata").glob("*.json"):
        objects.put(file.name, file.read_bytes())
    objects.close()
    for name, key in (("access-key", bucket.access_key), ("secret-key", bucket.secret_key)):
        (home.home / name).write_text(key)
    section = "\n".join(
        [
            "[repositories.bucket]",
            f'name = "{bucket.name}"',
            f'prefix = "{bucket.prefix}"',
            f'endpoint_url = "{bucket.endpoint_url}"',
            f'access_key_file = "{home.home / "access-key"}"',
            f'secret_key_file = "{home.home / "secret-key"}"',
            "beat_seconds = 0.5",
            "timeout_seconds = 2",
        ]
    )
    configuration = home.home / "config.toml"
    text, moved = re.subn(r"(?m)^metadata_directory = .*$", section, configuration.read_text())
    assert 1 == moved
    configuration.write_text(re.sub(r"(?m)^roles = .*$", 'roles = ["sign", "metadata"]', text, count=1))
    return home


def refreshed(daemon: DaemonProcess, place: Path, *paths: str) -> int:
    """The version of the timestamp that python-tuf's client takes; it finds these targets too."""
    updater = daemon.updater(place)
    updater.refresh()
    for path in paths:
        assert updater.get_targetinfo(path) is not None
    return updater._trusted_set.timestamp.version


def test_what_is_published_into_a_bucket_clients_take_also_after_kill_9(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.start()
    paths = []
    for number in range(3):
        paths.append(f"packages/in-a-bucket-{number}.whl")
        with daemon.client() as client:
            published = client.publish_targets(REPOSITORY, add=[target(paths[-1])])
        assert published.timestamp_version == refreshed(daemon, tmp_path / "remembers", *paths)
        daemon.kill()
        daemon.start()
    verified = run_cli("verify-repository", daemon.metadata_url, "--root", str(daemon.home / "metadata/1.root.json"))
    assert 0 == verified.returncode, verified.stdout + verified.stderr
    status = run_cli("metadata", "status", "--json", "--config", str(daemon.home / "config.toml"))
    assert 0 == status.returncode, status.stderr


def test_server_of_the_bucket_that_is_away_stops_publishing_until_it_is_back(
    daemon: DaemonProcess, object_storage: ObjectStorage, tmp_path: Path
) -> None:
    daemon.start()
    with daemon.client() as client:
        object_storage.pause()
        try:
            with pytest.raises(WharfingerError):
                client.publish_targets(REPOSITORY, add=[target("packages/late.whl")], timeout=5)
        finally:
            object_storage.go_on()
        client.publish_targets(REPOSITORY, add=[target("packages/late.whl")])
    refreshed(daemon, tmp_path / "remembers", "packages/late.whl")


def test_publisher_that_is_paused_is_replaced_within_seconds_and_rolls_nothing_back(
    daemon: DaemonProcess, postgresql: PostgresqlCluster, tmp_path: Path
) -> None:
    file = daemon.home / "config.toml"
    text = re.sub(r'(?m)^url = "sqlite:.*"$', "", file.read_text()).replace("[database]", "")
    file.write_text(f'{text}\n[database]\nurl = "{postgresql.new_url()}"\nstandby = true\n')
    rebuilt = run_cli("ledger", "rebuild", REPOSITORY, "--from-metadata", "--with-targets", "--config", str(file))
    assert 0 == rebuilt.returncode, rebuilt.stderr
    text, ports = file.read_text(), {name: free_port() for name in daemon.ports}
    for name, port in daemon.ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ports[name]}")
    (daemon.home / "other.toml").write_text(text)
    other = DaemonProcess(daemon.home, ports, configuration="other.toml")
    daemon.start()
    other.start(wait=False)
    try:
        poll(lambda: "serves while standing by" in other.log(), "the other one stands by")
        with daemon.client() as client:
            client.publish_targets(REPOSITORY, add=[target("packages/first.whl")])
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        other.wait_ready()
        with other.client() as client:
            newest = client.publish_targets(REPOSITORY, add=[target("packages/second.whl")]).timestamp_version
        daemon.process.send_signal(signal.SIGCONT)
        assert 2 == daemon.ended()
        assert "Another process signs with this database" in daemon.log()
        shown = refreshed(other, tmp_path / "remembers", "packages/first.whl", "packages/second.whl")
        assert newest <= shown
        assert 0 == other.stop()
    finally:
        if other.process is not None and other.process.poll() is None:
            other.kill()
