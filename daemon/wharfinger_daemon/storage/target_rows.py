"""Rows of targets in bulk, with the bins that are to be published for them and how far the import came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

from sqlalchemy import Connection, delete, func, insert, select

from wharfinger_daemon.metadata.target_import import ChunkOutcome, ImportProgress, after
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.storage.bin_sizes import LARGEST_LISTING, entry_size, no_room, sizes_of_bins
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.listed_targets import ListedTargets, TargetRow, hashes_text
from wharfinger_daemon.storage.schema import target_imports, unpublished_bins


class SqlTargetRows:
    """``metadata.target_import.TargetRows`` on the tables ``targets``, ``unpublished_bins`` and ``target_imports``.

    Nobody else may write targets or prepare a publication meanwhile: who writes must be the sole signer.

    Args:
        journal: writes, so that a process that was paused, and lost its place to another, writes nothing more.
        repository: its identity, the hexadecimal SHA-256 of its trusted root 1.
        role_for: the bin that lists a path.
    """

    def __init__(self, database: Database, journal: Journal, repository: str, role_for: Callable[[str], str]) -> None:
        self._database = database
        self._journal = journal
        self._repository = repository
        self._role_for = role_for
        self._listing = ListedTargets(repository, role_for)
        self._sizes: dict[str, int] | None = None

    def progress(self) -> ImportProgress | None:
        """How far an import came that was not finished."""
        columns = [target_imports.c[one.name] for one in fields(ImportProgress)]
        query = select(*columns).where(target_imports.c.repository == self._repository)
        row = self._database.read_blocking(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else ImportProgress(*row)

    def finish(self) -> None:
        """Forgets how far the import came: all of it is published."""
        query = delete(target_imports).where(target_imports.c.repository == self._repository)
        self._journal.write_blocking(lambda transaction: transaction.connection.execute(query))

    def unpublished(self) -> int:
        """How many bins are to be published for what was written."""
        query = select(func.count()).where(unpublished_bins.c.repository == self._repository)
        return self._database.read_blocking(lambda connection: connection.execute(query).scalar_one())

    def put(self, chunk: Mapping[str, Target], before: ImportProgress) -> ChunkOutcome:
        """Writes targets by path, and ``before`` with what came of them added, in one transaction."""

        def work(connection: Connection) -> ChunkOutcome:
            present = self._listing.rows(connection, chunk)
            changed = {path: target for path, target in chunk.items() if not _same(target, present.get(path))}
            full = self._take_room(connection, changed, present)
            taken = {path: target for path, target in changed.items() if path not in full}
            replaced = taken.keys() & present.keys()
            self._listing.replace(connection, taken.values(), replaced)
            self._mark(connection, {self._role_for(path) for path in taken})
            outcome = ChunkOutcome(len(taken) - len(replaced), len(replaced), len(chunk) - len(changed), full)
            self._record(connection, after(before, outcome))
            return outcome

        return self._journal.write_blocking(lambda transaction: work(transaction.connection))

    def _take_room(
        self, connection: Connection, changed: Mapping[str, Target], present: Mapping[str, TargetRow]
    ) -> dict[str, str]:
        """Counts targets into the sizes of their bins; returns why those are not taken that find no room."""
        if self._sizes is None:
            self._sizes = sizes_of_bins(connection, self._repository)
        full = {}
        for path, target in changed.items():
            role = self._role_for(path)
            gone = entry_size(path, present[path].hashes) if path in present else 0
            size = self._sizes.get(role, 0) - gone + entry_size(path, hashes_text(target.hashes))
            if size > LARGEST_LISTING:
                full[path] = no_room(role)
            else:
                self._sizes[role] = size
        return full

    def _mark(self, connection: Connection, bins: set[str]) -> None:
        query = select(unpublished_bins.c.role).where(unpublished_bins.c.repository == self._repository)
        new = bins.difference(connection.execute(query).scalars())
        if new:
            rows = [{"repository": self._repository, "role": role} for role in sorted(new)]
            connection.execute(insert(unpublished_bins), rows)

    def _record(self, connection: Connection, progress: ImportProgress) -> None:
        connection.execute(delete(target_imports).where(target_imports.c.repository == self._repository))
        connection.execute(insert(target_imports).values(repository=self._repository, **vars(progress)))


def _same(target: Target, row: TargetRow | None) -> bool:
    return row is not None and (row.length, row.hashes) == (target.length, hashes_text(target.hashes))
