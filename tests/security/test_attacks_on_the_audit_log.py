"""Somebody can write the database, and wants to hide what was signed, or to have it signed again."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.daemon_process import run_cli
from wharfinger_daemon.audit.checkpoint import Checkpoint
from wharfinger_daemon.audit.merkle import Frontier, leaf_hash, node_hash
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.signing.ledger import Epoch, Requester, Reservation
from wharfinger_daemon.storage.audit_log import begin_log
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.migrate import upgrade

AT = datetime(2030, 1, 1, tzinfo=UTC)
EPOCH = Epoch("a" * 64)
ROLES = 300

CONFIGURATION = """
roles = ["scan"]
[grpc.tls]
certificate_file = "server.crt"
key_file = "server.key"
client_ca_file = "ca.crt"
[database]
url = "sqlite:///log.db"
"""


def note_of(connection: sqlite3.Connection, size: int) -> tuple[bytes, bytes]:
    """Root and an unsigned note of a tree: whoever can write the database could have put it there."""
    frontier = Frontier()
    for (data,) in connection.execute("SELECT data FROM audit_leaves ORDER BY position LIMIT ?", (size,)):
        list(frontier.append(leaf_hash(data)))
    checkpoint = Checkpoint("example.com/log", size, frontier.root())
    return checkpoint.root, checkpoint.body() + "\n— example.com/log AAAAAAAA\n".encode()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a ledger and a log of some hundred signatures, and two checkpoints."""
    home = tmp_path_factory.mktemp("log")
    (home / "config.toml").write_text(CONFIGURATION)
    database = Database(f"sqlite:///{home / 'log.db'}")
    upgrade(database)
    journal = Journal(database)
    begin_log(journal, "example.com/log", FixedClock(AT))
    ledger = SqlLedger(journal)

    async def sign() -> None:
        batch = [Reservation(EPOCH, f"bins-{number:03x}", 1, b"d" * 32, "k" * 64) for number in range(ROLES)]
        entered = await ledger.reserve(batch, Requester("warehouse", "request"), max_version_jump=1, at=AT)
        await ledger.record([(recorded.leaf, b"signature") for recorded in entered], synced=True)

    asyncio.run(sign())
    database.close()
    with closing(sqlite3.connect(home / "log.db")) as connection, connection:
        for size in (100, ROLES + 1):
            row = (size, *note_of(connection, size), "2030-01-01 00:00:00.000000")
            connection.execute("INSERT INTO audit_checkpoints VALUES (?, ?, ?, ?)", row)
    return home


@pytest.fixture
def attacked(honest: Path, tmp_path: Path) -> Callable[..., dict[str, object]]:
    """Does something to a copy of the database, and tells what ``audit verify`` says of it."""
    home = tmp_path / "home"
    shutil.copytree(honest, home)

    def attack(*statements: str, options: tuple[str, ...] = ()) -> dict[str, object]:
        with closing(sqlite3.connect(home / "log.db")) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        done = run_cli("audit", "verify", "--json", "--config", str(home / "config.toml"), *options)
        assert "" == done.stderr
        said = json.loads(done.stdout)
        assert (1 if said["problems"] else 0) == done.returncode
        return dict(said)

    return attack


def test_log_that_nobody_touched_has_no_problems(attacked: Callable[..., dict[str, object]]) -> None:
    said = attacked()
    assert ([], ROLES + 1) == (said["problems"], said["leaves"])


ATTACKS = {
    "a leaf is edited": (["UPDATE audit_leaves SET data = replace(data, 'bins-00a', 'bins-00b') WHERE position = 11"]),
    "a leaf is taken out of the middle": (["DELETE FROM audit_leaves WHERE position = 40"]),
    "the last leaf is taken away": ([f"DELETE FROM audit_leaves WHERE position = {ROLES}"]),
    "two leaves change places": (
        [
            "UPDATE audit_leaves SET position = 9999 WHERE position = 5",
            "UPDATE audit_leaves SET position = 5 WHERE position = 6",
            "UPDATE audit_leaves SET position = 6 WHERE position = 9999",
        ]
    ),
    "a leaf is taken out and the rest moves up": (
        [
            "DELETE FROM audit_leaves WHERE position = 40",
            "UPDATE audit_leaves SET position = -(position - 1) WHERE position > 40",
            "UPDATE audit_leaves SET position = -position WHERE position < 0",
        ]
    ),
    "a leaf is added": (
        [f"INSERT INTO audit_leaves SELECT {ROLES + 1}, hash, data FROM audit_leaves WHERE position = 3"]
    ),
    "a hash of the tree is changed": (["UPDATE audit_nodes SET hash = zeroblob(32)"]),
    "a hash of the tree is taken away": (["DELETE FROM audit_nodes"]),
    "a hash of the tree is added": (["INSERT INTO audit_nodes SELECT 8, 7, hash FROM audit_nodes"]),
    "the ledger has another digest": (["UPDATE ledger_entries SET digest = zeroblob(32) WHERE role = 'bins-00a'"]),
    "the ledger has another version": (["UPDATE ledger_entries SET version = 2 WHERE role = 'bins-00a'"]),
    "the ledger lost an entry": (["DELETE FROM ledger_entries WHERE role = 'bins-00a'"]),
    "the ledger lost an entry and its signature": (
        [
            "DELETE FROM ledger_signatures WHERE leaf = 11",
            "DELETE FROM ledger_entries WHERE leaf = 11",
        ]
    ),
    "the ledger lost the row of a signature": (["DELETE FROM ledger_signatures WHERE leaf = 11"]),
    "a floor is lowered": (["UPDATE ledger_floors SET version = 0 WHERE role = 'bins-00a'"]),
    "a floor is taken away": (["DELETE FROM ledger_floors WHERE role = 'bins-00a'"]),
    "a checkpoint has another root": (["UPDATE audit_checkpoints SET root = zeroblob(32) WHERE size = 100"]),
    "a checkpoint has another note": (["UPDATE audit_checkpoints SET note = 'no note' WHERE size = 100"]),
    "a checkpoint is of a longer log": (["UPDATE audit_checkpoints SET size = 5000 WHERE size = 100"]),
    "the log is begun anew": (["INSERT INTO audit_logs VALUES (2, 'example.com/other', '2030-01-01 00:00:00.000000')"]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_whatever_is_done_to_the_rows_is_found(attacked: Callable[..., dict[str, object]], attack: str) -> None:
    said = attacked(*ATTACKS[attack])
    assert said["problems"], attack


def test_edited_leaf_is_named(attacked: Callable[..., dict[str, object]]) -> None:
    said = attacked(*ATTACKS["a leaf is edited"])
    problems = said["problems"]
    assert isinstance(problems, list)
    assert {"place": "leaf 11", "what": "its hash is not that of its data: one of them was changed"} in problems
    assert any("ledger row of leaf 11" == problem["place"] for problem in problems)


def test_log_that_was_cut_and_fits_itself_is_found_by_a_checkpoint_that_was_kept(
    attacked: Callable[..., dict[str, object]], honest: Path, tmp_path: Path
) -> None:
    """Who takes the newest leaves away with everything that speaks of them leaves no trace in the database."""
    with closing(sqlite3.connect(honest / "log.db")) as connection:
        _, note = note_of(connection, ROLES + 1)
    kept = tmp_path / "kept"
    kept.write_bytes(note)
    cut = [
        "DELETE FROM audit_checkpoints WHERE size > 200",
        "DELETE FROM ledger_signatures WHERE leaf >= 200",
        "DELETE FROM ledger_entries WHERE leaf >= 200",
        "DELETE FROM audit_leaves WHERE position >= 200",
        "DELETE FROM audit_nodes",
    ]
    assert [] == attacked(*cut)["problems"]
    said = attacked(options=("--checkpoint", str(kept)))
    assert [{"place": f"checkpoint file {kept}", "what": f"it is of {ROLES + 1} leaves, and the log has 200"}] == said[
        "problems"
    ]


def test_history_that_was_rewritten_whole_is_found_by_a_checkpoint_that_was_kept(
    attacked: Callable[..., dict[str, object]], honest: Path, tmp_path: Path
) -> None:
    """Leaf, hash, tree, ledger and checkpoints: everything fits, and is not what was vouched for."""
    with closing(sqlite3.connect(honest / "log.db")) as connection:
        _, note = note_of(connection, 100)
        hashes = [bytes(value) for (value,) in connection.execute("SELECT hash FROM audit_leaves ORDER BY position")]
        [[data]] = connection.execute("SELECT data FROM audit_leaves WHERE position = 11").fetchall()
    (tmp_path / "kept").write_bytes(note)
    other = data.replace(b'"digest":"64', b'"digest":"65')
    assert other != data
    hashes[11] = leaf_hash(other)
    tree = hashes[:256]
    while len(tree) > 1:
        tree = [node_hash(*tree[index : index + 2]) for index in range(0, len(tree), 2)]
    rewrite = [
        f"UPDATE audit_leaves SET data = x'{other.hex()}', hash = x'{hashes[11].hex()}' WHERE position = 11",
        f"UPDATE audit_nodes SET hash = x'{tree[0].hex()}'",
        f"UPDATE ledger_entries SET digest = x'{(b'e' + b'd' * 31).hex()}' WHERE leaf = 11",
        "DELETE FROM audit_checkpoints",
    ]
    assert [] == attacked(*rewrite)["problems"]
    said = attacked(options=("--checkpoint", str(tmp_path / "kept")))
    assert said["problems"]


def test_export_is_verified_without_the_database(honest: Path, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    configuration = str(honest / "config.toml")
    assert 0 == run_cli("audit", "export", str(file), "--config", configuration).returncode
    done = run_cli("audit", "verify", "--json", "--export", str(file))
    assert (0, ROLES + 1) == (done.returncode, json.loads(done.stdout)["leaves"])
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:50], *lines[51:]]))
    done = run_cli("audit", "verify", "--json", "--export", str(file))
    assert 1 == done.returncode
    file.write_text("garbage\n")
    done = run_cli("audit", "verify", "--export", str(file))
    assert (2, True) == (done.returncode, "Line 1 of" in done.stderr)
    assert 2 == run_cli("audit", "export", str(file), "--config", configuration).returncode, "it is not overwritten"
