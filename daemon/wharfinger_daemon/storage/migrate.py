"""Brings the database to the schema that this version of the code needs."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.storage.database import Database


def upgrade(database: Database) -> tuple[str | None, str]:
    """Applies every migration that is missing.

    Returns:
        The revisions before and after; before is None for an empty database.

    Raises:
        StartupError: the database has a revision that this version of the code does not know.
    """

    def work(connection: Connection) -> tuple[str | None, str]:
        if connection.dialect.name == "postgresql":
            _take_all_time_and_nobody_else(connection)
        before = MigrationContext.configure(connection).get_current_revision()
        if before is not None and before not in _known_revisions():
            raise StartupError(
                f"The database has revision {before}, which this version of wharfinger cannot upgrade: a newer version "
                "made it, or one from before the first release. Install the version that it belongs to; a development "
                "home can be removed and made anew.",
                reason=Reason.DATABASE_OUTDATED,
            )
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return before, newest_revision()

    return database.run_blocking(work)


def _take_all_time_and_nobody_else(connection: Connection) -> None:
    # Two upgrades at once run one after another, and the second finds nothing to do.
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:first, :second)"), {"first": 0x7768, "second": 0x6D69})


def require_current(database: Database) -> None:
    """Refuses to go on with a database of another revision.

    Raises:
        StartupError: the database is empty, older, or newer than this code.
    """
    present = database.read_blocking(lambda connection: MigrationContext.configure(connection).get_current_revision())
    if present != newest_revision():
        raise StartupError(
            f"The database has revision {present or 'none'}, and this version of wharfinger needs {newest_revision()}. "
            "Run 'wharfinger db upgrade', or install the version that the database belongs to.",
            reason=Reason.DATABASE_OUTDATED,
        )


def newest_revision() -> str:
    """The revision that this version of the code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # The package always holds at least one migration.
    return head


def _known_revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("wharfinger_daemon.storage") / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
