"""Hashes of the audit log's tree, from its rows: leaves, and the complete subtrees that are stored."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from wharfinger_daemon.audit.merkle import STORED_LEVELS, Frontier, combine, complete_subtrees
from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.storage.schema import audit_leaves, audit_nodes


def subtree_hash(connection: Connection, level: int, position: int) -> bytes:
    """The hash of a complete subtree of 2**level leaves.

    Raises:
        CorruptStateError: rows that it is made of are missing.
    """
    stored = level - level % STORED_LEVELS
    count = 1 << (level - stored)
    first = position * count
    if stored == 0:
        leaves = audit_leaves.c
        query = select(leaves.hash).where(leaves.position >= first, leaves.position < first + count)
        query = query.order_by(leaves.position)
    else:
        nodes = audit_nodes.c
        query = select(nodes.hash).where(nodes.level == stored, nodes.position >= first, nodes.position < first + count)
        query = query.order_by(nodes.position)
    hashes = list(connection.execute(query).scalars())
    if len(hashes) != count:
        raise CorruptStateError(
            f"The audit log lacks {count - len(hashes)} of the hashes from number {first} on of level {stored}. "
            "Restore the newest copy of the database.",
            reason=Reason.LOG_INVALID,
        )
    return combine(hashes)


def load_frontier(connection: Connection) -> Frontier:
    """The right edge of the log's tree, from its rows.

    Raises:
        CorruptStateError: rows that it is made of are missing.
    """
    last = connection.execute(select(func.max(audit_leaves.c.position))).scalar_one()
    size = 0 if last is None else last + 1
    return Frontier(size, [subtree_hash(connection, level, position) for level, position in complete_subtrees(size)])
