"""No bin grows beyond what clients read: its rows are measured within the transaction that adds to them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from wharfinger_daemon.errors import Reason, RefusedError
from wharfinger_daemon.metadata.listing import LARGEST_ENTRY
from wharfinger_daemon.storage.role_rows import in_batches
from wharfinger_daemon.storage.schema import targets

# What python-tuf's client reads of a targets role, unless it is told otherwise.
LARGEST_BIN = 5_000_000
# What a file has beside its entries: version, expiry, one signature and the names of the fields.
_FRAME = 2_000
# What an entry has beside its path and its hashes as the database has them: braces, the length and its name.
_AROUND_AN_ENTRY = 60


def require_room(connection: Connection, repository: str, bins: Collection[str]) -> None:
    """Takes bins as they are now in the transaction.

    Raises:
        RefusedError: BIN_FULL; clients would not read one of them.
    """
    most = LARGEST_BIN - _FRAME
    mine = targets.c.repository == repository
    for names in in_batches(bins):
        counted = select(targets.c.bin).where(mine, targets.c.bin.in_(names)).group_by(targets.c.bin)
        # To count is cheap, since the rows of a bin are found by an index; to measure them all is not.
        suspects = connection.execute(counted.having(func.count() > most // LARGEST_ENTRY)).scalars().all()
        size = func.sum(func.length(targets.c.path) + func.length(targets.c.hashes) + _AROUND_AN_ENTRY)
        measured = counted.with_only_columns(targets.c.bin, func.count()).where(targets.c.bin.in_(suspects))
        for role, number in connection.execute(measured.having(size > most).order_by(targets.c.bin)):
            raise RefusedError(
                f"With this change '{role}' would list {number} targets in more than {LARGEST_BIN} bytes, which "
                "clients refuse to read. Nothing of the change was recorded. Remove targets, or make a repository with "
                "more bins.",
                reason=Reason.BIN_FULL,
                role=role,
            )
