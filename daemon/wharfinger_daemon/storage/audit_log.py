"""The audit log in the database: its beginning, its leaves and proofs, its checkpoints. ``journal`` adds the leaves."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from wharfinger_daemon.audit import proofs
from wharfinger_daemon.audit.checkpoint import Checkpoint, CheckpointError, SignedCheckpoint, read_checkpoint
from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.storage.audit_tree import subtree_hash
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.schema import audit_checkpoints, audit_leaves, audit_logs


def begin_log(journal: Journal, origin: str, clock: Clock) -> str:
    """Begins the log of a database, if it has none. Blocks; repeats safely.

    Args:
        origin: what its name begins with; the rest is chosen at random, so that no two logs have the same.

    Returns:
        The whole name.

    Raises:
        UnavailableError: the database does not answer.
    """

    def work(transaction: JournalTransaction) -> str:
        query = select(audit_logs.c.origin).order_by(audit_logs.c.id)
        present = transaction.connection.execute(query).scalars().first()
        if present is not None:
            return str(present)
        now = clock.now()
        name = f"{origin}/{secrets.token_hex(4)}"
        transaction.connection.execute(insert(audit_logs).values(origin=name, created_at=now))
        transaction.log(Leaf(Act.LOG_BEGUN, now, "local", {"origin": name}))
        return name

    return journal.write_blocking(work)


class SqlAuditLog:
    """Reads the log, and keeps its checkpoints.

    Raises:
        UnavailableError: from every method, when the database does not answer.
        CorruptStateError: rows are missing that a hash is made of.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def origin(self) -> str:
        """The log's name in checkpoints. It must have been begun."""
        query = select(audit_logs.c.origin).order_by(audit_logs.c.id).limit(1)
        return await self._database.read(lambda connection: str(connection.execute(query).scalar_one()))

    async def size(self) -> int:
        """The number of leaves."""
        return await self._database.read(_size)

    async def leaves(self, first: int, count: int) -> list[tuple[int, bytes, bytes]]:
        """Index, data and hash of leaves from an index on, at most so many."""
        columns = audit_leaves.c
        query = select(columns.position, columns.data, columns.hash).where(columns.position >= first)
        query = query.order_by(columns.position).limit(count)
        return await self._database.read(
            lambda connection: [(index, data, value) for index, data, value in connection.execute(query)]
        )

    async def subtree(self, level: int, position: int) -> bytes:
        """The hash of a complete subtree of 2**level leaves."""
        return await self._database.read(lambda connection: subtree_hash(connection, level, position))

    async def root(self, size: int) -> bytes:
        """The root of the first ``size`` leaves."""
        return await self._database.read(lambda connection: proofs.root_hash(size, _hashes(connection)))

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that a leaf is in the tree of a size."""
        return await self._database.read(lambda connection: proofs.inclusion_proof(index, size, _hashes(connection)))

    async def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof that one tree begins another."""
        return await self._database.read(
            lambda connection: proofs.consistency_proof(first, second, _hashes(connection))
        )

    async def checkpoint(self, size: int | None) -> SignedCheckpoint | None:
        """The newest checkpoint, or that of a size; None if there is none."""
        columns = audit_checkpoints.c
        query = select(columns.note).order_by(columns.size.desc()).limit(1)
        if size is not None:
            query = query.where(columns.size == size)

        def work(connection: Connection) -> SignedCheckpoint | None:
            note = connection.execute(query).scalar_one_or_none()
            return None if note is None else _signed(note)

        return await self._database.read(work)

    async def add_checkpoint(self, signed: SignedCheckpoint, at: datetime) -> None:
        """Keeps a checkpoint."""
        checkpoint: Checkpoint = signed.checkpoint
        row = {"size": checkpoint.size, "root": checkpoint.root, "note": signed.note, "signed_at": at}

        def work(connection: Connection) -> None:
            connection.execute(insert(audit_checkpoints), row)

        await self._database.run(work)


def _signed(note: object) -> SignedCheckpoint:
    # SQLite lets whoever writes put text where bytes should be.
    content = note if isinstance(note, bytes) else str(note).encode("utf-8", errors="replace")
    try:
        return SignedCheckpoint(read_checkpoint(content), content)
    except CheckpointError as error:
        raise CorruptStateError(
            f"The database has a checkpoint that is none: {error} It was changed from outside. Run 'wharfinger audit "
            "verify'.",
            reason=Reason.LOG_INVALID,
        ) from error


def _size(connection: Connection) -> int:
    last = connection.execute(select(func.max(audit_leaves.c.position))).scalar_one()
    return 0 if last is None else int(last) + 1


def _hashes(connection: Connection) -> proofs.Hashes:
    return lambda level, position: subtree_hash(connection, level, position)
