"""A daemon whose database is a PostgreSQL server, and what may be killed under it; python-tuf's own client judges."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, poll, run_cli
from tests.support.ngclient_directory import client_of
from tests.support.postgresql_cluster import PostgresqlCluster, running_cluster
from tests.support.repository import VersionWitness, targets_of
from wharfinger_client import RetryPolicy, ServingStatus, SigningItem, Target, UnavailableError, WharfingerError
from wharfinger_client.errors import RefusedError

REPOSITORY = "development"
SIGNING = "wharfinger.signing.v1.SigningService"


def target(name: str) -> Target:
    return Target(f"packages/{name}.tar.gz", 1, {"sha256": hashlib.sha256(name.encode()).hexdigest()})


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlCluster]:
    """A server of this module's own, which may be killed."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def moved(home: DaemonProcess, server: PostgresqlCluster) -> DaemonProcess:
    """A home whose rows and ledger were rebuilt in an empty PostgreSQL database; its daemon does not run."""
    configuration = home.home / "config.toml"
    url = server.new_url(upgraded=False)
    text = re.sub(r'(?m)^url = "sqlite:.*"$', f'url = "{url}"', configuration.read_text())
    if "[database]" not in text:
        text += f'\n[database]\nurl = "{url}"\n'
    # Scans have nothing to do with what may be killed here.
    configuration.write_text(re.sub(r"(?m)^roles = .*$", 'roles = ["sign", "metadata"]', text, count=1))
    (home.home / "wharfinger.db").unlink()
    (home.home / "audit-checkpoint").unlink(missing_ok=True)
    upgraded = command(home, "db", "upgrade", "--json")
    assert upgraded["before"] is None
    assert command(home, "ledger", "rebuild", REPOSITORY, "--from-metadata", "--with-targets", "--json")["raised"]
    return home


def command(home: DaemonProcess, *arguments: str) -> dict[str, object]:
    done = run_cli(*arguments, "--config", str(home.home / "config.toml"))
    assert 0 == done.returncode, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def doubled(home: DaemonProcess, server: PostgresqlCluster) -> list[object]:
    """Versions with more than one content."""
    query = "SELECT role, version FROM ledger_entries GROUP BY repository, epoch, role, version HAVING COUNT(*) > 1"
    with closing(server.connect(database_of(home))) as connection:
        return list(connection.execute(query).fetchall())


def database_of(home: DaemonProcess) -> str:
    found = re.search(r"@/(\w+)\?", (home.home / "config.toml").read_text())
    assert found is not None
    return found[1]


def test_what_is_published_is_on_record_and_clients_take_it(
    moved: DaemonProcess, server: PostgresqlCluster, tmp_path: Path
) -> None:
    remembers = tmp_path / "remembers"
    client_of(moved.home / "metadata", remembers).refresh()
    moved.start()
    with moved.client() as client:
        for number in range(5):
            client.publish_targets(REPOSITORY, add=[target(f"on-postgresql-{number}")])
    client_of(moved.home / "metadata", remembers).refresh()
    assert {target(f"on-postgresql-{number}").path for number in range(5)} <= set(targets_of(moved.home / "metadata"))
    audit = command(moved, "audit", "verify", "--json")
    assert [] == audit["problems"]
    ledger = command(moved, "ledger", "show", REPOSITORY, "--json")
    assert ledger
    second = run_cli("serve", "--config", str(moved.home / "config.toml"))
    assert 2 == second.returncode
    assert "signs with this database" in second.stderr or "publishes" in second.stderr
    with closing(server.connect(database_of(moved))) as connection:
        connection.execute("UPDATE audit_leaves SET data = '{}' WHERE position = 3")
    forged = run_cli("audit", "verify", "--config", str(moved.home / "config.toml"))
    assert (1, True) == (forged.returncode, "leaf 3" in forged.stdout)
    assert 0 == moved.stop()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 10))])
def test_kill_9_of_daemon_or_server_loses_nothing_that_was_acknowledged(
    moved: DaemonProcess, server: PostgresqlCluster, tmp_path: Path, seed: int
) -> None:
    """At a random moment, one or the other, while targets are published one after another."""
    dice = random.Random(seed)
    remembers = tmp_path / "remembers"
    witness = VersionWitness(moved.home / "metadata")
    acknowledged: set[str] = set()
    number = 0
    for victim in ("daemon", "server", "daemon"):
        if moved.process is None or moved.process.poll() is not None:
            moved.start()
        kill = moved.process.kill if victim == "daemon" else server.kill  # type: ignore[union-attr]
        assassin = threading.Timer(dice.uniform(0.05, 1.0), kill)
        assassin.start()
        with moved.client(retry=RetryPolicy(max_attempts=1)) as client:
            while True:
                number += 1
                try:
                    client.publish_targets(REPOSITORY, add=[target(f"kill-{seed}-{number}")])
                except WharfingerError:
                    break
                acknowledged.add(target(f"kill-{seed}-{number}").path)
        assassin.join()
        if victim == "daemon":
            moved.kill()
        else:
            server.start()
        witness.look()
        client_of(moved.home / "metadata", remembers).refresh()
    moved.start()
    with moved.client() as client:
        client.publish_targets(REPOSITORY, add=[target(f"kill-{seed}-last")])
    witness.look()
    assert 0 == moved.stop()
    assert acknowledged <= set(targets_of(moved.home / "metadata"))
    client_of(moved.home / "metadata", remembers).refresh()
    assert [] == doubled(moved, server)
    assert [] == command(moved, "audit", "verify", "--json")["problems"]


def test_daemon_goes_on_by_itself_when_the_server_is_back(moved: DaemonProcess, server: PostgresqlCluster) -> None:
    moved.start()
    server.stop()
    with moved.client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(UnavailableError) as caught:
            client.publish_targets(REPOSITORY, add=[target("while-it-is-away")])
        assert caught.value.reason in {"DATABASE_UNAVAILABLE", "PUBLICATION_FAILED"}
        assert client.get_metadata(REPOSITORY, "timestamp").content
        server.start()
        client.publish_targets(REPOSITORY, add=[target("when-it-is-back")])
        assert target("when-it-is-back").path in targets_of(moved.home / "metadata")
        poll(lambda: client.check_health(SIGNING) is ServingStatus.SERVING, "signing is healthy")
    assert 0 == moved.stop()


def test_version_that_was_published_before_the_database_was_made_is_not_signed_again(moved: DaemonProcess) -> None:
    """The rebuilt ledger holds the floors above what clients have seen."""
    moved.start()
    with moved.client() as client:
        timestamp = json.loads(client.get_metadata(REPOSITORY, "timestamp").content)["signed"]
        signed = json.dumps(timestamp, separators=(",", ":"), sort_keys=True).encode()
        with pytest.raises(RefusedError):
            client.sign([SigningItem(REPOSITORY, signed, role="timestamp")])
    assert 0 == moved.stop()
