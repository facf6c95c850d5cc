"""The audit log of a running daemon: every signature is in it, provably, and what was signed of it stays."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.daemon_process import DaemonProcess, poll, run_cli
from wharfinger_client import Client, NotFoundError, SigningItem, UnavailableError
from wharfinger_daemon.audit.checkpoint import parse_vkey
from wharfinger_daemon.audit.proofs import verify_inclusion


def timestamp(version: int, snapshot: int = 1) -> SigningItem:
    expires = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta = {"snapshot.json": {"version": snapshot}}
    signed = {"_type": "timestamp", "expires": expires, "meta": meta, "spec_version": "1.0.31", "version": version}
    return SigningItem("development", json.dumps(signed, separators=(",", ":"), sort_keys=True).encode())


def proven(client: Client, index: int):  # type: ignore[no-untyped-def]
    """The proof, once a checkpoint covers the leaf."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return client.inclusion_proof(index)
        except UnavailableError as error:
            assert "CHECKPOINT_PENDING" == error.failure.reason
            assert time.monotonic() < deadline


def audit(home: DaemonProcess, *arguments: str) -> tuple[int, str]:
    done = run_cli("audit", *arguments, "--config", str(home.home / "config.toml"))
    return done.returncode, done.stdout or done.stderr


def test_signature_is_in_the_log_and_its_proof_leads_to_a_signed_checkpoint(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        signature = client.sign_metadata("development", timestamp(50).signed, role="timestamp")
        proof = proven(client, signature.leaf_index)
        proof.verify(signature.leaf_hash)
        assert client.checkpoint(proof.checkpoint.size) == proof.checkpoint
        with pytest.raises(NotFoundError):
            client.inclusion_proof(10**6)
        with pytest.raises(NotFoundError):
            client.checkpoint(10**6)
    said = json.loads(proof.leaf)
    assert ("signature", "warehouse", "timestamp", 50) == tuple(
        said[name] for name in ("act", "caller", "role", "version")
    )
    status, vkey = audit(daemon, "show", "--vkey")
    assert 0 == status
    checkpoint = parse_vkey(vkey).verify(proof.checkpoint.note)
    verify_inclusion(signature.leaf_hash, proof.leaf_index, checkpoint.size, proof.hashes, checkpoint.root)
    kept = daemon.home / "kept"
    kept.write_bytes(proof.checkpoint.note)
    status, said_of_all = audit(daemon, "verify", "--json", "--vkey", vkey.strip(), "--checkpoint", str(kept))
    assert (0, []) == (status, json.loads(said_of_all)["problems"])


def test_replay_has_the_leaf_that_the_signature_had(daemon: DaemonProcess) -> None:
    item = timestamp(60)
    with daemon.client() as client:
        first = client.sign([item])[0]
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        again = client.sign([item])[0]
    assert again.replayed
    assert (first.leaf_index, first.leaf_hash, first.signature) == (again.leaf_index, again.leaf_hash, again.signature)


def test_refused_item_leaves_no_leaf(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        signature = client.sign([timestamp(70)])[0]
        for version in (70, 69, 10**6):
            with pytest.raises(Exception, match="Version"):
                client.sign([timestamp(version, snapshot=2)])
        assert signature.leaf_index + 1 == client.sign([timestamp(71)])[0].leaf_index


def covered(daemon: DaemonProcess) -> None:
    """Waits until a checkpoint covers everything."""
    kept = daemon.home / "audit-checkpoint"

    def all_of_it() -> bool:
        with closing(sqlite3.connect(daemon.home / "wharfinger.db")) as connection:
            [[size]] = connection.execute("SELECT count(*) FROM audit_leaves")
        return kept.exists() and kept.read_text().split("\n")[1] == str(size)

    poll(all_of_it, "a checkpoint of the whole log")


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE audit_leaves SET hash = zeroblob(32) WHERE position = 2",
        "DELETE FROM audit_leaves WHERE position = (SELECT max(position) FROM audit_leaves)",
        "UPDATE audit_checkpoints SET note = replace(note, 'wharfinger', 'warfinger')",
    ],
)
def test_daemon_does_not_start_on_a_log_that_is_not_what_was_signed(daemon: DaemonProcess, attack: str) -> None:
    covered(daemon)
    daemon.stop()
    with closing(sqlite3.connect(daemon.home / "wharfinger.db")) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(attack)
    daemon.start(wait=False)
    assert 2 == daemon.ended()
    assert "audit log" in daemon.log()


def test_daemon_does_not_start_on_an_old_copy_of_its_database(daemon: DaemonProcess) -> None:
    """The copy outside the database remembers what the log had come to."""
    covered(daemon)
    daemon.stop()
    old = daemon.home / "old.db"
    shutil.copy(daemon.home / "wharfinger.db", old)
    daemon.start()
    with daemon.client() as client:
        client.sign([timestamp(80)])
    covered(daemon)
    daemon.stop()
    shutil.copy(old, daemon.home / "wharfinger.db")
    daemon.start(wait=False)
    assert 2 == daemon.ended()
    assert "It vouches for" in daemon.log()


def test_log_is_verified_beside_a_daemon_that_goes_on_signing(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        for version in range(100, 130):
            client.sign([timestamp(version)])
            if version % 10 == 0:
                status, said = audit(daemon, "verify", "--json")
                assert (0, []) == (status, json.loads(said)["problems"])
    status, shown = audit(daemon, "show", "--role", "timestamp", "--version", "129", "--json")
    assert (0, 1) == (status, len(shown.splitlines()))
