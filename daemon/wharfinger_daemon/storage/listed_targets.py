"""The rows of targets, within a transaction of others: the table ``targets``.

They are kept in the order in which bins list them, and found by bin and path: of 20 million of them, those of a bin lie
side by side, and there is no index beside the table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import orjson
from sqlalchemy import (
    JSON,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    column,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from wharfinger_daemon.errors import CorruptStateError, InvalidRequestError, Reason
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.storage.role_rows import in_batches
from wharfinger_daemon.storage.schema import targets

TargetRow = Row[tuple[str, str, int, str]]

# Others write to the database between two such steps: signing waits for its ledger as long as one takes.
_ASSIGNED_AT_ONCE = 2_000

_COLUMNS = (targets.c.bin, targets.c.path, targets.c.length, targets.c.hashes)


class ListedTargets:
    """Those of one repository.

    Args:
        repository: its identity, the hexadecimal SHA-256 of its trusted root 1.
        role_for: the bin that lists a path.
    """

    def __init__(self, repository: str, role_for: Callable[[str], str]) -> None:
        self._repository = repository
        self._role_for = role_for

    def rows(self, connection: Connection, paths: Collection[str]) -> Mapping[str, TargetRow]:
        """Those of these paths that are listed, by path, as (bin, path, length, hashes)."""
        # One parameter: of thousands, more time would go into the statement than into the rows.
        wanted = [[self._role_for(path), path] for path in sorted(paths)]
        each = func.json_each if connection.dialect.name == "sqlite" else func.json_array_elements
        keys = each(bindparam("wanted", wanted, type_=JSON)).table_valued(column("value", JSON))
        same = and_(
            targets.c.repository == self._repository,
            targets.c.bin == keys.c.value[0].as_string(),
            targets.c.path == keys.c.value[1].as_string(),
        )
        # An outer join, because it has SQLite begin with what is wanted, and not with all targets.
        query: Select[tuple[str, str, int, str]] = select(*_COLUMNS).join_from(keys, targets, same, isouter=True)
        return {row.path: row for row in connection.execute(query) if row.path is not None}

    def replace(self, connection: Connection, listed: Iterable[Target], gone: Iterable[str]) -> None:
        """Removes the rows of paths that are gone, and writes targets, whose paths have none."""
        keys = [{"its_bin": self._role_for(path), "its_path": path} for path in sorted(gone)]
        if keys:
            one = delete(targets).where(
                targets.c.repository == self._repository,
                targets.c.bin == bindparam("its_bin"),
                targets.c.path == bindparam("its_path"),
            )
            connection.execute(one, keys)
        rows = [
            {
                "repository": self._repository,
                "bin": self._role_for(target.path),
                "path": target.path,
                "length": target.length,
                "hashes": hashes_text(target.hashes),
            }
            for target in listed
        ]
        if rows:
            # In the order of the table, in which a database writes them fastest.
            connection.execute(insert(targets), sorted(rows, key=lambda row: (row["bin"], row["path"])))

    def assign_after(self, place: tuple[str, str], connection: Connection) -> tuple[str, str] | None:
        """Moves the rows that follow a place, a bin and a path, to the bins that their paths lead to; not all at once.

        Rows only move on, to bins with higher numbers, so that whoever goes on from place to place meets all of them.

        Returns:
            The place of the last one; None if there was none.
        """
        following = (
            select(targets.c.bin, targets.c.path)
            .where(targets.c.repository == self._repository, tuple_(targets.c.bin, targets.c.path) > tuple_(*place))
            .order_by(targets.c.bin, targets.c.path)
            .limit(_ASSIGNED_AT_ONCE)
        )
        rows = connection.execute(following).all()
        moved = [
            {"its_bin": row.bin, "its_path": row.path, "new": role}
            for row in rows
            if row.bin != (role := self._role_for(row.path))
        ]
        if moved:
            one = update(targets).where(
                targets.c.repository == self._repository,
                targets.c.bin == bindparam("its_bin"),
                targets.c.path == bindparam("its_path"),
            )
            connection.execute(one.values(bin=bindparam("new")), moved)
        return (rows[-1].bin, rows[-1].path) if rows else None


def targets_of_bins(connection: Connection, repository: str, bins: Collection[str]) -> Mapping[str, list[Target]]:
    """What these bins list, in the order of paths.

    Raises:
        CorruptStateError: TARGET_INVALID; a row is no target.
    """
    listed: dict[str, list[Target]] = {role: [] for role in bins}
    for names in in_batches(bins):
        for row in connection.execute(_of_bins(repository, names)):
            listed[row.bin].append(target_of(row))
    return listed


def target_of(row: TargetRow) -> Target:
    """The target that a row stands for.

    Raises:
        CorruptStateError: TARGET_INVALID; it stands for none.
    """
    try:
        return Target(row.path, row.length, orjson.loads(row.hashes))
    except (InvalidRequestError, ValueError, AttributeError, TypeError) as error:
        raise CorruptStateError(
            f"The database has a target that is none, in '{row.bin}': {error} Restore the database from a good copy.",
            reason=Reason.TARGET_INVALID,
            role=row.bin,
        ) from error


def hashes_text(hashes: Mapping[str, str]) -> str:
    """A target's hashes as the database has them: the same hashes give the same text."""
    return orjson.dumps(dict(hashes), option=orjson.OPT_SORT_KEYS).decode()


def _of_bins(repository: str, bins: Collection[str]) -> Select[tuple[str, str, int, str]]:
    mine = select(*_COLUMNS).where(targets.c.repository == repository, targets.c.bin.in_(bins))
    return mine.order_by(targets.c.bin, targets.c.path)
