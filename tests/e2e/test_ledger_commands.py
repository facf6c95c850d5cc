"""The ledger is lost, or was led astray: the commands that go on from there, with clients as the judges."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, run_cli
from tests.support.load import ALWAYS, REPOSITORY, Administrator, target
from tests.support.ngclient_directory import client_of
from tests.support.offline_ceremony import OfflineCeremony
from tests.support.repository import published_versions, targets_of
from wharfinger_client import SigningItem
from wharfinger_client.errors import RefusedError


def ledger(home: DaemonProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli("ledger", *arguments, "--config", str(home.home / "config.toml"))


def timestamp(version: int, snapshot: int = 1) -> SigningItem:
    expires = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta = {"snapshot.json": {"version": snapshot}}
    signed = {"_type": "timestamp", "expires": expires, "meta": meta, "spec_version": "1.0.31", "version": version}
    return SigningItem(REPOSITORY, json.dumps(signed, separators=(",", ":"), sort_keys=True).encode(), role="timestamp")


@pytest.fixture
def published(daemon: DaemonProcess) -> DaemonProcess:
    """A daemon that has published some targets, and was stopped."""
    with daemon.client() as client:
        for path in (ALWAYS, "packages/second.whl", "packages/third.whl"):
            client.publish_targets(REPOSITORY, add=[target(path)])
    assert 0 == daemon.stop()
    return daemon


def lose(home: DaemonProcess, *tables: str) -> None:
    with closing(sqlite3.connect(home.home / "wharfinger.db")) as connection, connection:
        for table in tables:
            connection.execute(f"DELETE FROM {table}")  # a name of ours


def refused_start(home: DaemonProcess, reason: str) -> None:
    home.start(wait=False)
    assert 2 == home.ended()
    assert reason in home.log()


def test_lost_ledger_is_rebuilt_from_what_is_published(published: DaemonProcess, tmp_path: Path) -> None:
    remembers = tmp_path / "remembers"
    client_of(published.home / "metadata", remembers).refresh()
    before = published_versions(published.home / "metadata")
    lose(published, "ledger_signatures", "ledger_entries", "ledger_floors")
    refused_start(published, "the ledger knows nothing of it")
    done = ledger(
        published, "rebuild", REPOSITORY, "--from-metadata", "--margin", "7", "--floor", "timestamp=40", "--json"
    )
    assert 0 == done.returncode, done.stderr
    said = json.loads(done.stdout)
    assert {"timestamp": 40, "snapshot": before["snapshot"] + 7} == said["floors"]
    published.start()
    with published.client() as client:
        with pytest.raises(RefusedError):
            client.sign([timestamp(40)])
        client.publish_targets(REPOSITORY, add=[target("packages/after.whl")])
    client_of(published.home / "metadata", remembers).refresh()
    after = published_versions(published.home / "metadata")
    assert after["timestamp"] > 40
    assert after["snapshot"] > before["snapshot"] + 7
    assert 0 == published.stop()
    audit = run_cli("audit", "show", "--json", "--last", "100", "--config", str(published.home / "config.toml"))
    assert "ledger-rebuilt" in audit.stdout


def test_lost_database_is_restored_with_its_targets(published: DaemonProcess, tmp_path: Path) -> None:
    """Token, metadata and configuration are all that is left."""
    before = targets_of(published.home / "metadata")
    for file in published.home.glob("wharfinger.db*"):
        file.unlink()
    (published.home / "audit-checkpoint").unlink()
    assert 0 == run_cli("db", "upgrade", "--config", str(published.home / "config.toml")).returncode
    refused_start(published, "the ledger knows nothing of it")
    done = ledger(published, "rebuild", REPOSITORY, "--from-metadata", "--with-targets", "--json")
    assert (0, 3) == (done.returncode, json.loads(done.stdout)["targets"]), done.stderr
    published.start()
    with published.client() as client:
        client.publish_targets(REPOSITORY, add=[target("packages/after.whl")])
    assert {*before, "packages/after.whl"} == set(targets_of(published.home / "metadata"))
    assert published.updater(tmp_path / "fresh").get_targetinfo(ALWAYS) is not None
    assert 0 == published.stop()
    again = ledger(published, "rebuild", REPOSITORY, "--from-metadata", "--with-targets")
    assert (2, True) == (again.returncode, "never overwritten" in again.stderr)
    assert 0 == ledger(published, "rebuild", REPOSITORY, "--from-metadata").returncode, "the ledger alone may be"


def test_metadata_that_somebody_changed_rebuilds_nothing(published: DaemonProcess) -> None:
    metadata = published.home / "metadata"
    version = published_versions(metadata)["snapshot"]
    snapshot = metadata / f"{version}.snapshot.json"
    snapshot.write_bytes(snapshot.read_bytes().replace(b'"version":', b'"version": '))
    done = ledger(published, "rebuild", REPOSITORY, "--from-metadata")
    assert (2, True) == (done.returncode, f"{version}.snapshot.json" in done.stderr), done.stderr
    for arguments in (
        ["rebuild", "other", "--from-metadata"],
        ["rebuild", REPOSITORY],
        ["rebuild", REPOSITORY, "--from-metadata", "--floor", "timestamp"],
        ["show", "other"],
    ):
        assert 2 == ledger(published, *arguments).returncode, arguments


def test_fast_forward_attack_is_recovered_from_by_a_new_epoch(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A caller used versions up that clients never saw here; with new keys, versions go on above the published ones."""
    remembers = tmp_path / "remembers"
    metadata = daemon.home / "metadata"
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[target(ALWAYS)])
        client_of(metadata, remembers).refresh()
        before = published_versions(metadata)
        for version in (900, 1800, 2700):
            client.sign([timestamp(version, before["snapshot"])])
    assert 0 == daemon.stop()
    refused = ledger(daemon, "open-epoch", REPOSITORY, "--confirm", REPOSITORY)
    assert (2, True) == (refused.returncode, "needs a newer root" in refused.stderr)
    administrator = Administrator(daemon)
    new = administrator.generates()
    ceremony = OfflineCeremony(metadata, daemon.home / "ceremony")
    administrator.brings(ceremony.root(new), ceremony.bins(new), options=("--local", "--revoke"))
    too_low = ledger(daemon, "open-epoch", REPOSITORY, "--confirm", REPOSITORY, "--start", "timestamp=1")
    assert (2, True) == (too_low.returncode, "is published" in too_low.stderr), too_low.stderr
    mistyped = ledger(daemon, "open-epoch", REPOSITORY, "--confirm", "other")
    assert 2 == mistyped.returncode
    done = ledger(daemon, "open-epoch", REPOSITORY, "--confirm", REPOSITORY, "--json")
    assert 0 == done.returncode, done.stderr
    assert (2, before["timestamp"]) == (
        json.loads(done.stdout)["epoch"],
        json.loads(done.stdout)["starts"]["timestamp"],
    )
    daemon.start()
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[target("packages/after.whl")])
    after = published_versions_with(metadata, new.keyid)
    assert before["timestamp"] < after < 900
    client_of(metadata, remembers).refresh()
    client_of(metadata, tmp_path / "fresh").refresh()
    beside = ledger(daemon, "open-epoch", REPOSITORY, "--confirm", REPOSITORY)
    assert (2, True) == (beside.returncode, "daemon" in beside.stderr), beside.stderr
    shown = json.loads(ledger(daemon, "show", REPOSITORY, "--json").stdout)
    assert (2, after) == (shown["epoch"], shown["roles"]["timestamp"]["signed"])
    assert 0 == daemon.stop()
    again = ledger(daemon, "open-epoch", REPOSITORY, "--confirm", REPOSITORY)
    assert (2, True) == (again.returncode, "needs a newer root" in again.stderr), again.stderr


def published_versions_with(metadata: Path, keyid: str) -> int:
    """The version of the timestamp, which one key has signed."""
    shown = json.loads((metadata / "timestamp.json").read_bytes())
    assert [keyid] == [signature["keyid"] for signature in shown["signatures"]]
    return int(shown["signed"]["version"])
