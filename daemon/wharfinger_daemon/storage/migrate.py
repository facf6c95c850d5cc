"""Brings the database to the schema that this version of the code needs."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.revision import NEWEST_REVISION, present_revision


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
        before = present_revision(connection)
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
        return before, NEWEST_REVISION

    return database.run_blocking(work)


def _take_all_time_and_nobody_else(connection: Connection) -> None:
    # Two upgrades at once run one after another, and the second finds nothing to do.
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:first, :second)"), {"first": 0x7768, "second": 0x6D69})


def _known_revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("wharfinger_daemon.storage") / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
