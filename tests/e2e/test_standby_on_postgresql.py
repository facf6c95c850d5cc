"""Two daemons, one PostgreSQL database: one signs, the other stands by, and never do both."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, free_port, poll, run_cli
from tests.support.load import REPOSITORY, target
from tests.support.ngclient_directory import client_of
from tests.support.postgresql_cluster import PostgresqlCluster
from tests.support.repository import VersionWitness, targets_of
from wharfinger_client import RetryPolicy, UnavailableError


@pytest.fixture
def leader(home: DaemonProcess, postgresql: PostgresqlCluster) -> DaemonProcess:
    """A home on PostgreSQL whose daemon does not run yet."""
    configuration = home.home / "config.toml"
    url = postgresql.new_url()
    text = re.sub(r"(?m)^roles = .*$", 'roles = ["sign", "metadata"]', configuration.read_text(), count=1)
    text = re.sub(r'(?m)^url = "sqlite:.*"$', "", text).replace("[database]", "")
    configuration.write_text(f'{text}\n[database]\nurl = "{url}"\nstandby = true\n')
    rebuilt = run_cli("ledger", "rebuild", REPOSITORY, "--from-metadata", "--with-targets", "--config",
                      str(configuration))  # fmt: skip
    assert 0 == rebuilt.returncode, rebuilt.stderr
    return home


@pytest.fixture
def other(leader: DaemonProcess) -> Iterator[DaemonProcess]:
    """The other one, with addresses of its own, on the same token and files."""
    text = (leader.home / "config.toml").read_text()
    ports = {name: free_port() for name in leader.ports}
    for name, port in leader.ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ports[name]}")
    (leader.home / "other.toml").write_text(text)
    second = DaemonProcess(leader.home, ports, configuration="other.toml")
    try:
        yield second
    finally:
        if second.process is not None and second.process.poll() is None:
            second.kill()


def stands_by(daemon: DaemonProcess) -> bool:
    return "standing by" in {event["event"] for event in daemon.log_events()}


def test_standby_takes_the_place_of_a_signer_that_was_killed(
    leader: DaemonProcess, other: DaemonProcess, tmp_path: Path
) -> None:
    remembers = tmp_path / "remembers"
    witness = VersionWitness(leader.home / "metadata")
    leader.start()
    other.start(wait=False)
    poll(lambda: stands_by(other), "the other one stands by")
    paths = []
    for number, (signs, waits) in enumerate(((leader, other), (other, leader), (leader, other))):
        with signs.client() as client:
            paths.append(f"packages/of-turn-{number}.whl")
            client.publish_targets(REPOSITORY, add=[target(paths[-1])])
        witness.look()
        client_of(leader.home / "metadata", remembers).refresh()
        signs.kill()
        waits.wait_ready()
        signs.start(wait=False)
    assert set(paths) <= set(targets_of(leader.home / "metadata"))
    assert 0 == run_cli("audit", "verify", "--config", str(leader.home / "config.toml")).returncode


def test_publisher_that_was_paused_too_long_ends_and_the_other_publishes(
    leader: DaemonProcess, other: DaemonProcess, tmp_path: Path
) -> None:
    leader.start()
    other.start(wait=False)
    poll(lambda: stands_by(other), "the other one stands by")
    with leader.client() as client:
        client.publish_targets(REPOSITORY, add=[target("packages/before.whl")])
    assert leader.process is not None
    leader.process.send_signal(signal.SIGSTOP)
    other.wait_ready()
    with other.client() as client:
        newest = client.publish_targets(REPOSITORY, add=[target("packages/meanwhile.whl")]).timestamp_version
        leader.process.send_signal(signal.SIGCONT)
        assert 2 == leader.ended()
        assert "Another process signs with this database" in leader.log()
        assert newest <= client.get_metadata(REPOSITORY, "timestamp").version
    updater = other.updater(tmp_path / "remembers")
    updater.refresh()
    for path in ("packages/before.whl", "packages/meanwhile.whl"):
        assert updater.get_targetinfo(path) is not None
    assert 0 == other.stop()


def serves(daemon: DaemonProcess) -> bool:
    return "serves while standing by" in {event["event"] for event in daemon.log_events()}


def test_standby_serves_what_the_other_publishes_and_hands_changes_on(
    leader: DaemonProcess, other: DaemonProcess, tmp_path: Path
) -> None:
    leader.start()
    other.start(wait=False)
    poll(lambda: serves(other), "the other one serves")
    path = "packages/by-way-of-the-standby.whl"
    with other.client(retry=RetryPolicy(max_attempts=1)) as client:
        published = client.publish_targets(REPOSITORY, add=[target(path)])
        shown = client.get_metadata(REPOSITORY, "timestamp")
        assert published.timestamp_version <= shown.version
        watched = next(iter(client.watch_publications(REPOSITORY, after=published.timestamp_version - 1)))
        assert published.timestamp_version == watched.timestamp_version
        with pytest.raises(UnavailableError) as caught:
            list(client.list_signing_keys(REPOSITORY))
        assert "STANDING_BY" == caught.value.reason
    for daemon in (leader, other):
        updater = daemon.updater(tmp_path / str(daemon.ports["http"]))
        updater.refresh()
        assert updater.get_targetinfo(path) is not None
    assert 0 == other.stop()
    assert 0 == leader.stop()


def test_change_that_a_standby_took_while_nobody_published_is_published_by_the_next(
    leader: DaemonProcess, other: DaemonProcess
) -> None:
    leader.start()
    other.start(wait=False)
    poll(lambda: serves(other), "the other one serves")
    assert leader.process is not None
    # Paused, it still has the place: nobody publishes, and the change waits in the queue.
    leader.process.send_signal(signal.SIGSTOP)
    path = "packages/waits-in-the-queue.whl"
    with other.client() as client:
        asked = threading.Thread(target=client.publish_targets, args=(REPOSITORY,), kwargs={"add": [target(path)]})
        asked.start()
        leader.kill()
        other.wait_ready()
        asked.join()
    assert path in targets_of(leader.home / "metadata")
    assert 0 == other.stop()


def test_standby_that_is_told_to_stop_does(leader: DaemonProcess, other: DaemonProcess) -> None:
    leader.start()
    other.start(wait=False)
    poll(lambda: serves(other), "the other one serves")
    assert 0 == other.stop()
    assert 0 == leader.stop()
