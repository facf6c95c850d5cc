"""A forger has the database and signs checkpoints: with another key, with old signatures, or with the log's own key."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import insert

from wharfinger_daemon.audit.checkpoint import Checkpoint, LogKey
from wharfinger_daemon.audit.merkle import Frontier, leaf_hash
from wharfinger_daemon.cli import main
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.signing.ledger import Epoch, Requester, Reservation
from wharfinger_daemon.storage import migrate
from wharfinger_daemon.storage.audit_log import begin_log
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.schema import audit_checkpoints

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EPOCH = Epoch("ab" * 32)
KEYID = "cd" * 32
VERSIONS = 300
"""More than 256, so that a hash of level 8 is stored."""

LEAVES = 1 + VERSIONS
CONFIGURATION = """
roles = ["scan"]
[grpc.tls]
certificate_file = "server.crt"
key_file = "server.key"
client_ca_file = "ca.crt"
[database]
url = "sqlite:///wharfinger.db"
"""
EDIT = "SET data = CAST(replace(CAST(data AS TEXT), 'warehouse', 'blameless') AS BLOB)"


@dataclass(frozen=True)
class Log:
    """A folder with configuration and database, and the log's key."""

    place: Path
    key: ed25519.Ed25519PrivateKey

    @property
    def database(self) -> Path:
        return self.place / "wharfinger.db"

    @property
    def origin(self) -> str:
        with self.sql() as connection:
            [origin] = connection.execute("SELECT origin FROM audit_logs").fetchone()
        assert isinstance(origin, str)
        return origin

    @property
    def vkey(self) -> str:
        public_key = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return LogKey(self.origin, public_key).vkey

    @contextmanager
    def sql(self) -> Iterator[sqlite3.Connection]:
        """What the attacker has. Foreign keys bind only those who want to be bound."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            yield connection

    def note(self, size: int) -> bytes:
        with self.sql() as connection:
            [note] = connection.execute("SELECT note FROM audit_checkpoints WHERE size = ?", (size,)).fetchone()
        assert isinstance(note, bytes)
        return note

    def keep(self, size: int) -> Path:
        """A checkpoint that the operator took away."""
        kept = self.place / f"kept-{size}"
        kept.write_bytes(self.note(size))
        return kept

    def grow(self, versions: range) -> None:
        """More signatures, and a checkpoint."""
        with closing(Database(f"sqlite:///{self.database}")) as database:
            journal = Journal(database)
            write_versions(journal, versions)
            sign_checkpoint(journal, self.origin, self.key)

    def verify(self, *options: str, vkey: bool = True) -> tuple[int, dict[str, Any]]:
        """Exit status and answer of ``wharfinger audit verify``."""
        arguments = ["audit", "verify", "--config", str(self.place / "config.toml"), "--json", *options]
        if vkey:
            arguments += ["--vkey", self.vkey]
        outcome = CliRunner().invoke(main, arguments)
        assert outcome.exit_code in (0, 1), outcome.output
        return outcome.exit_code, json.loads(outcome.stdout)

    def problems(self, *options: str) -> list[str]:
        status, answer = self.verify(*options)
        assert (1 if answer["problems"] else 0) == status
        return [f"{problem['place']}: {problem['what']}" for problem in answer["problems"]]


def signed_note(key: ed25519.Ed25519PrivateKey, checkpoint: Checkpoint) -> bytes:
    # Written as C2SP signed-note describes it, and not by the code that reads it.
    body = f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n".encode()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key_id = hashlib.sha256(checkpoint.origin.encode() + b"\n\x01" + raw).digest()[:4]
    signature = base64.b64encode(key_id + key.sign(body)).decode()
    return body + f"\n— {checkpoint.origin} {signature}\n".encode()


def digest(version: int) -> bytes:
    return hashlib.sha256(b"%d" % version).digest()


def write_versions(journal: Journal, versions: range) -> None:
    ledger = SqlLedger(journal)
    reservations = [Reservation(EPOCH, f"bins-{version % 4}", version, digest(version), KEYID) for version in versions]

    async def reserve() -> None:
        await ledger.reserve(reservations, Requester("warehouse", "upload-7"), max_version_jump=1000, at=NOW)

    asyncio.run(reserve())


def sign_checkpoint(journal: Journal, origin: str, key: ed25519.Ed25519PrivateKey) -> None:
    def work(transaction: JournalTransaction) -> None:
        checkpoint = Checkpoint(origin, transaction.frontier.size, transaction.frontier.root())
        note = signed_note(key, checkpoint)
        row = {"size": checkpoint.size, "root": checkpoint.root, "note": note, "signed_at": NOW}
        transaction.connection.execute(insert(audit_checkpoints), row)

    journal.write_blocking(work)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A log of its beginning and 300 signatures, with checkpoints at 101 and 301 leaves; copy it."""
    log = Log(tmp_path_factory.mktemp("log"), ed25519.Ed25519PrivateKey.generate())
    (log.place / "config.toml").write_text(CONFIGURATION)
    with closing(Database(f"sqlite:///{log.database}")) as database:
        migrate.upgrade(database)
        journal = Journal(database)
        begin_log(journal, "example.com/log", FixedClock(NOW))
    for versions in (range(1, 101), range(101, VERSIONS + 1)):
        log.grow(versions)
    return log


@pytest.fixture
def log(written: Log, tmp_path: Path) -> Log:
    shutil.copytree(written.place, tmp_path / "log")
    return Log(tmp_path / "log", written.key)


def rewrite(log: Log, *, sign: Callable[[Checkpoint], bytes] | None = None) -> None:
    """Changes leaf 150 and every hash above it; and the newest checkpoint too, if somebody signs it."""
    with log.sql() as connection:
        connection.execute(f"UPDATE audit_leaves {EDIT} WHERE position = 150")
        frontier = Frontier()
        for position, data in connection.execute("SELECT position, data FROM audit_leaves ORDER BY 1").fetchall():
            connection.execute("UPDATE audit_leaves SET hash = ? WHERE position = ?", (leaf_hash(data), position))
            for node in frontier.append(leaf_hash(data)):
                place = (node.hash, node.level, node.position)
                connection.execute("UPDATE audit_nodes SET hash = ? WHERE level = ? AND position = ?", place)
    if sign is None:
        return
    checkpoint = Checkpoint(log.origin, LEAVES, frontier.root())
    with log.sql() as connection:
        row = (checkpoint.root, sign(checkpoint), LEAVES)
        connection.execute("UPDATE audit_checkpoints SET root = ?, note = ? WHERE size = ?", row)


def test_a_log_that_nobody_touched_is_whole_and_its_signatures_hold(log: Log) -> None:
    status, answer = log.verify()
    assert (0, LEAVES, True, []) == (status, answer["leaves"], answer["signatures_verified"], answer["problems"])


def test_what_was_written_after_the_newest_checkpoint_is_no_problem(log: Log) -> None:
    with closing(Database(f"sqlite:///{log.database}")) as database:
        write_versions(Journal(database), range(VERSIONS + 1, VERSIONS + 6))
    assert [] == log.problems()


def test_a_rewritten_tree_contradicts_the_signed_root(log: Log) -> None:
    rewrite(log)
    assert ["checkpoint 301: its root is not that of the first 301 leaves"] == log.problems()


def test_a_checkpoint_that_another_key_signed_is_found_with_the_verifier_key(log: Log) -> None:
    forger = ed25519.Ed25519PrivateKey.generate()
    rewrite(log, sign=lambda checkpoint: signed_note(forger, checkpoint))
    [problem] = log.problems()
    assert problem.startswith("checkpoint 301: ")
    # Without the key nobody can tell; the answer says that nobody looked.
    status, answer = log.verify(vkey=False)
    assert (0, False) == (status, answer["signatures_verified"])


def test_a_checkpoint_with_the_signature_of_another_one_is_found(log: Log) -> None:
    signature = log.note(101).split(b"\n\n")[1]
    rewrite(log, sign=lambda checkpoint: checkpoint.body() + b"\n" + signature)
    [problem] = log.problems()
    assert problem.startswith("checkpoint 301: ")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: note.replace(b"\n301\n", b"\n0301\n"),
        lambda note: note.replace(b"\n301\n", b"\n+301\n"),
        lambda note: note.replace(b"\n301\n", b"\n300\n"),
        lambda note: note.replace(b"\n\n", b"\nextension\n\n"),
        lambda note: note + b"\n",
        lambda note: note[:-1],
        lambda note: note.replace("— ".encode(), b"- "),
        lambda note: note.replace(b"\n", b"\r\n"),
        lambda note: b"\n" + note,
        lambda note: b"\xff" + note,
        lambda note: b"",
    ],
)
def test_a_note_that_is_not_written_as_it_must_be_is_found(log: Log, spoil: Callable[[bytes], bytes]) -> None:
    note = log.note(301)
    assert note != spoil(note)
    with log.sql() as connection:
        connection.execute("UPDATE audit_checkpoints SET note = ? WHERE size = 301", (spoil(note),))
    problems = log.problems()
    assert problems and all(problem.startswith("checkpoint 301: ") for problem in problems)


def test_even_the_owner_of_the_key_cannot_change_what_somebody_has_a_checkpoint_of(log: Log) -> None:
    kept = log.keep(301)
    rewrite(log, sign=lambda checkpoint: signed_note(log.key, checkpoint))
    assert [] == log.problems()
    assert [f"checkpoint file {kept}: its root is not that of the first 301 leaves"] == log.problems(
        "--checkpoint", str(kept)
    )


def test_a_database_that_was_rolled_back_as_a_whole_is_behind_the_kept_checkpoint(log: Log) -> None:
    old = log.place / "old.db"
    shutil.copy(log.database, old)
    log.grow(range(VERSIONS + 1, VERSIONS + 11))
    kept = log.keep(311)
    assert [] == log.problems("--checkpoint", str(kept))

    shutil.copy(old, log.database)

    assert [] == log.problems()
    assert [f"checkpoint file {kept}: it is of 311 leaves, and the log has 301"] == log.problems(
        "--checkpoint", str(kept)
    )


def test_all_checkpoints_that_were_kept_must_fit_and_one_that_does_not_is_named(log: Log) -> None:
    good, bad = log.keep(101), log.keep(301)
    rewrite(log, sign=lambda checkpoint: signed_note(log.key, checkpoint))
    [problem] = log.problems("--checkpoint", str(good), "--checkpoint", str(bad))
    assert problem.startswith(f"checkpoint file {bad}: ")


def test_a_kept_checkpoint_of_another_log_is_told_from_this_one(log: Log) -> None:
    kept = log.place / "kept"
    kept.write_bytes(signed_note(log.key, Checkpoint("example.com/other", LEAVES, bytes(32))))
    [problem] = log.problems("--checkpoint", str(kept))
    assert problem.startswith(f"checkpoint file {kept}: ")


# What SQLite keeps in a column need not be of the column's type.
ODD_VALUES = {
    "version of an entry as text": "UPDATE ledger_entries SET version = 'gone' WHERE leaf = 150",
    "version of a floor as text": "UPDATE ledger_floors SET version = 'gone' WHERE role = 'bins-2'",
    "data of a leaf as text": "UPDATE audit_leaves SET data = 'gone' WHERE position = 150",
    "data of a leaf as a number": "UPDATE audit_leaves SET data = 7 WHERE position = 150",
    "data of a leaf that is empty": "UPDATE audit_leaves SET data = zeroblob(0) WHERE position = 150",
    "data of a leaf that is no JSON": "UPDATE audit_leaves SET data = x'ff00' WHERE position = 150",
    "data of a leaf that is a list": "UPDATE audit_leaves SET data = CAST('[]' AS BLOB) WHERE position = 150",
    "data of a leaf that nests deeply": (
        "UPDATE audit_leaves SET data = CAST(replace(hex(zeroblob(50000)), '0', '[') AS BLOB) WHERE position = 150"
    ),
    "hash of a leaf as text": "UPDATE audit_leaves SET hash = 'gone' WHERE position = 150",
    "hash of a leaf that is short": "UPDATE audit_leaves SET hash = x'00' WHERE position = 150",
    "hash of a node as text": "UPDATE audit_nodes SET hash = 'gone'",
    "root of a checkpoint as text": "UPDATE audit_checkpoints SET root = 'gone'",
    "note of a checkpoint as text": "UPDATE audit_checkpoints SET note = CAST(note AS TEXT) || 'gone'",
    "note of a checkpoint as a number": "UPDATE audit_checkpoints SET note = 7",
    "digest of an entry as text": "UPDATE ledger_entries SET digest = 'gone' WHERE leaf = 150",
    "role of an entry as bytes": "UPDATE ledger_entries SET role = x'ff00' WHERE leaf = 150",
    "keyid of a signature as bytes": "UPDATE ledger_signatures SET keyid = x'ff00' WHERE leaf = 150",
    "epoch of a floor as text": "UPDATE ledger_floors SET epoch = 'gone' WHERE role = 'bins-2'",
}


@pytest.mark.parametrize("name", ODD_VALUES)
def test_a_value_of_an_odd_type_is_a_problem_and_does_not_stop_the_check(log: Log, name: str) -> None:
    with log.sql() as connection:
        assert 0 < connection.execute(ODD_VALUES[name]).rowcount
    assert log.problems()
