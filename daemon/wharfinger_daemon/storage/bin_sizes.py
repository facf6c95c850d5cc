"""No bin grows beyond what clients read: its rows are measured within the transaction that adds to them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, func, select

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
LARGEST_LISTING = LARGEST_BIN - _FRAME


def entry_size(path: str, hashes: str) -> int:
    """At least as many bytes as the entry of a target has.

    Args:
        hashes: as the database has them.
    """
    return len(path) + len(hashes) + _AROUND_AN_ENTRY


def sizes_of_bins(connection: Connection, repository: str) -> dict[str, int]:
    """At least as many bytes as each bin lists. Reads all targets."""
    query = select(targets.c.bin, _size()).where(targets.c.repository == repository).group_by(targets.c.bin)
    return {role: int(size) for role, size in connection.execute(query)}


def no_room(role: str) -> str:
    """What to do about a bin that is full."""
    return (
        f"With it, '{role}' would be larger than the {LARGEST_BIN} bytes that clients read. Remove targets, or make a "
        "repository with more bins."
    )


def require_room(connection: Connection, repository: str, bins: Collection[str]) -> None:
    """Takes bins as they are now in the transaction.

    Raises:
        RefusedError: BIN_FULL; clients would not read one of them.
    """
    mine = targets.c.repository == repository
    for names in in_batches(bins):
        counted = select(targets.c.bin).where(mine, targets.c.bin.in_(names)).group_by(targets.c.bin)
        # To count is cheap, since the rows of a bin are found by an index; to measure them all is not.
        suspects = connection.execute(counted.having(func.count() > LARGEST_LISTING // LARGEST_ENTRY)).scalars().all()
        measured = counted.where(targets.c.bin.in_(suspects)).having(_size() > LARGEST_LISTING)
        for role in connection.execute(measured.order_by(targets.c.bin)).scalars():
            raise RefusedError(f"The change was not recorded. {no_room(role)}", reason=Reason.BIN_FULL, role=role)


def _size() -> ColumnElement[int]:
    return func.sum(func.length(targets.c.path) + func.length(targets.c.hashes) + _AROUND_AN_ENTRY)
