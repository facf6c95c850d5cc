"""Pieces of work for a journal, and what they leave in the log."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.errors import Reason, RefusedError
from wharfinger_daemon.storage.schema import audit_leaves

AT = datetime(2030, 1, 1, tzinfo=UTC)


def leaf(number):
    return Leaf(Act.SIGNATURE, AT, "warehouse", {"number": number})


def logs(number):
    return lambda transaction: transaction.log(leaf(number))


def refuses(transaction):
    transaction.log(leaf(-1))
    raise RefusedError("refused", reason=Reason.VERSION_ROLLBACK)


def stored(connection):
    rows = connection.execute(select(audit_leaves).order_by(audit_leaves.c.position)).all()
    return [(row.position, bytes(row.hash), bytes(row.data)) for row in rows]
