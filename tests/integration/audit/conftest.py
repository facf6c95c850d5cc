"""A real log in a real database, signed with a key in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_daemon.audit.checkpoint import LogKey
from wharfinger_daemon.audit.checkpointer import Checkpointer, KeptCheckpoint
from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.audit.ports import CheckpointSigner, Log
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.custody.log_key import LogSigner
from wharfinger_daemon.signing.memory_keys import MemoryKeys
from wharfinger_daemon.storage.audit_log import SqlAuditLog, begin_log
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.migrate import upgrade

AT = datetime(2030, 1, 1, tzinfo=UTC)


class Watching:
    """Implements ``LogObserver``; remembers what it is told."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.looks: list[tuple[int, int]] = []

    def looked(self, leaves: int, covered: int) -> None:
        self.looks.append((leaves, covered))

    def checkpointed(self, size: int, at: datetime) -> None:
        self.sizes.append(size)


class SignedLog:
    """Database, journal, log and key."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.db"
        self.database = Database(f"sqlite:///{self.path}")
        upgrade(self.database)
        self.journal = Journal(self.database)
        self.log = SqlAuditLog(self.database)
        private = ed25519.Ed25519PrivateKey.generate()
        self.tokens = MemoryKeys([private])
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key = LogKey(begin_log(self.journal, "example.com/log", FixedClock(AT)), public)
        self.signer = LogSigner(self.tokens, public, 1)
        self.kept = KeptCheckpoint(folder / "audit-checkpoint")
        self.observer = Watching()

    def checkpointer(
        self, seconds: float = 1000.0, *, log: Log | None = None, signer: CheckpointSigner | None = None
    ) -> Checkpointer:
        """One that signs this log; ``log`` and ``signer`` stand between, where a test needs to."""
        return Checkpointer(
            log or self.log, self.key, signer or self.signer, self.kept, FixedClock(AT), seconds, self.observer
        )

    def grow(self, count: int = 1) -> None:
        """Adds leaves, each in its own transaction."""
        for number in range(count):
            leaf = Leaf(Act.SIGNATURE, AT, "warehouse", {"n": number})
            self.journal.write_blocking(lambda transaction, leaf=leaf: transaction.log(leaf))

    def edit(self, *statements: str) -> None:
        """Changes the database as somebody else would."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture
def signed_log(tmp_path: Path) -> Iterator[SignedLog]:
    """A log with its first leaf."""
    made = SignedLog(tmp_path)
    yield made
    made.database.close()
