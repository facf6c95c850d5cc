"""Which schema the database has, and which one this version of the code needs.

Alembic is not asked: every start of a command would wait for its import.
"""

from __future__ import annotations

from sqlalchemy import Connection, Select, column, inspect, select, table

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.storage.database import Database

NEWEST_REVISION = "0006"
_TABLE = "alembic_version"


def require_current(database: Database) -> None:
    """Refuses to go on with a database of another revision.

    Raises:
        StartupError: the database is empty, older, or newer than this code.
    """
    present = database.read_blocking(present_revision)
    if present != NEWEST_REVISION:
        raise StartupError(
            f"The database has revision {present or 'none'}, and this version of wharfinger needs {NEWEST_REVISION}. "
            "Run 'wharfinger db upgrade', or install the version that the database belongs to.",
            reason=Reason.DATABASE_OUTDATED,
        )


def present_revision(connection: Connection) -> str | None:
    """The revision of a database; None for an empty one."""
    if not inspect(connection).has_table(_TABLE):
        return None
    query: Select[str] = select(column("version_num")).select_from(table(_TABLE))
    return connection.scalars(query).one_or_none()
