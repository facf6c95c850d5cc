"""Reads log and ledger from beginning to end, beside a daemon that goes on writing: one moment of the database, and
nothing is locked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Executable, create_engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from wharfinger_daemon.audit.verification import Findings, LedgerRow, StoredLeaf
from wharfinger_daemon.config.settings import DatabaseSettings
from wharfinger_daemon.errors import Reason, StartupError, UnavailableError
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.schema import (
    audit_checkpoints,
    audit_leaves,
    audit_logs,
    audit_nodes,
    ledger_entries,
    ledger_epochs,
    ledger_floors,
    ledger_signatures,
)

_ROWS_AT_ONCE = 5000


@dataclass(frozen=True)
class AuditReading:
    """One moment of the database."""

    connection: Connection

    def origins(self) -> list[str]:
        """What the log is called in checkpoints; more than one only if somebody began it anew."""
        return list(self.connection.execute(select(audit_logs.c.origin).order_by(audit_logs.c.id)).scalars())

    def size(self) -> int:
        """How many leaves there are."""
        return self.connection.execute(select(func.count()).select_from(audit_leaves)).scalar_one()

    def leaves(self, first: int = 0) -> Iterator[StoredLeaf]:
        """Leaves from an index on."""
        columns = audit_leaves.c
        query = select(columns.position, columns.data, columns.hash).where(columns.position >= first)
        for index, data, value in self._each(query.order_by(columns.position)):
            yield StoredLeaf(index, _blob(data), _blob(value))

    def nodes(self) -> dict[tuple[int, int], bytes]:
        """The stored hashes of complete subtrees."""
        return {(level, position): _blob(value) for level, position, value in self._each(select(audit_nodes))}

    def checkpoints(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Size, root and signed note of each checkpoint."""
        columns = audit_checkpoints.c
        for size, root, note in self._each(select(columns.size, columns.root, columns.note).order_by(columns.size)):
            yield size, _blob(root), _blob(note)

    def ledger(self) -> Iterator[LedgerRow]:
        """What the ledger says of each signature, by leaf."""
        entries, signatures = ledger_entries.c, ledger_signatures.c
        query = (
            select(
                signatures.leaf,
                entries.repository,
                entries.epoch,
                entries.role,
                entries.version,
                entries.digest,
                signatures.keyid,
            )
            .select_from(ledger_signatures)
            .join(ledger_entries, entries.leaf == signatures.entry)
            .order_by(signatures.leaf)
        )
        for row in self._each(query):
            leaf, repository, epoch, role, version, digest, keyid = row
            yield LedgerRow(leaf, repository, epoch, role, version, _blob(digest), keyid)

    def check_ledger(self, findings: Findings) -> None:
        """Notes what the rows of the ledger contradict among themselves: lost entries, lowered floors."""
        entries, signatures = ledger_entries.c, ledger_signatures.c
        orphans = select(signatures.leaf).where(signatures.entry.not_in(select(entries.leaf)))
        for (leaf,) in self._each(orphans):
            findings.add(f"ledger row of leaf {leaf}", "its entry is missing: the version could be signed again")
        lonely = select(entries.leaf).where(entries.leaf.not_in(select(signatures.entry)))
        for (leaf,) in self._each(lonely):
            findings.add(f"ledger entry of leaf {leaf}", "it has no row of a signature")
        floors = {
            (row.repository, row.epoch, row.role): row.version
            for row in self._each(select(ledger_floors).where(ledger_floors.c.role == ledger_floors.c.name))
        }
        highest = select(entries.repository, entries.epoch, entries.role, func.max(entries.version))
        for repository, epoch, role, version in self._each(
            highest.group_by(entries.repository, entries.epoch, entries.role)
        ):
            floor = floors.get((repository, epoch, role), 0)
            if not isinstance(floor, int) or not isinstance(version, int) or floor < version:
                findings.add(
                    f"floor of '{role}' in epoch {epoch} of {repository[:8]}…",
                    f"it is {floor}, and version {version} was signed: lower ones could be signed again",
                )

    def epochs(self) -> dict[tuple[str, int], int]:
        """The version of the root with which each epoch was opened, by repository and number."""
        return {(row.repository, row.number): row.root_version for row in self._each(select(ledger_epochs))}

    def _each(self, query: Executable) -> Iterator[Any]:
        yield from self.connection.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE})


def _blob(value: object) -> bytes:
    # SQLite lets whoever writes put text or numbers where bytes should be.
    return value if isinstance(value, bytes) else str(value).encode("utf-8", errors="replace")


@contextmanager
def read_audit(settings: DatabaseSettings) -> Iterator[AuditReading]:
    """Opens a database for reading alone.

    Raises:
        StartupError: DATABASE_UNAVAILABLE; it is not there, or is no database of ours.
    """
    if not settings.is_sqlite:
        with _read_server(settings) as reading:
            yield reading
        return
    file = make_url(settings.url).database or ""
    engine = create_engine(f"sqlite:///file:{quote(file)}?mode=ro&uri=true", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield AuditReading(connection)
    except SQLAlchemyError as error:
        raise _unreadable(file, getattr(error, "orig", error)) from error
    finally:
        engine.dispose()


@contextmanager
def _read_server(settings: DatabaseSettings) -> Iterator[AuditReading]:
    try:
        with closing(Database.of(settings)) as database, database.reading() as connection:
            yield AuditReading(connection)
    except UnavailableError as error:
        raise _unreadable(make_url(settings.url).database or "", error) from error


def _unreadable(name: str, why: object) -> StartupError:
    return StartupError(
        f"The database {name} cannot be read: {why}. Name the configuration of the daemon that it belongs to.",
        reason=Reason.DATABASE_UNAVAILABLE,
    )
