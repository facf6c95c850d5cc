"""Migrations lead to the schema that the code uses, from nothing and again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.storage import migrate, schema
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.revision import NEWEST_REVISION, require_current


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'w.db'}")) as opened:
        yield opened


def test_all_migrations_together_are_the_schema(database: Database) -> None:
    migrate.upgrade(database)
    differences = database.run_blocking(
        lambda connection: compare_metadata(MigrationContext.configure(connection), schema.metadata)
    )
    assert [] == differences


def test_the_newest_migration_is_the_revision_that_is_needed(database: Database) -> None:
    migrate.upgrade(database)
    assert NEWEST_REVISION == database.read_blocking(
        lambda connection: MigrationContext.configure(connection).get_current_revision()
    )


def test_an_upgrade_of_what_is_current_changes_nothing(database: Database) -> None:
    assert (None, NEWEST_REVISION) == migrate.upgrade(database)
    assert (NEWEST_REVISION, NEWEST_REVISION) == migrate.upgrade(database)
    require_current(database)


def test_an_empty_database_is_refused_with_the_command_that_helps(database: Database) -> None:
    with pytest.raises(StartupError, match="wharfinger db upgrade") as caught:
        require_current(database)
    assert Reason.DATABASE_OUTDATED == caught.value.reason


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    migrate.upgrade(database)
    database.run_blocking(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    )
    with pytest.raises(StartupError, match="9999"):
        require_current(database)


def test_database_of_an_unknown_revision_is_left_alone(database: Database) -> None:
    """A newer version's, or one from before the first release."""
    migrate.upgrade(database)
    database.run_blocking(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = 'x'")))
    with pytest.raises(StartupError, match="has revision x, which this version of wharfinger cannot upgrade"):
        migrate.upgrade(database)


def test_targets_survive_the_change_of_their_table_in_both_directions(database: Database) -> None:
    migrate.upgrade(database)
    row = ("r" * 64, "bins-0", "a/path", 17, '{"sha256":"00"}')
    columns = "repository, bin, path, length, hashes"

    def work(connection: Connection) -> tuple[list[object], list[object]]:
        connection.exec_driver_sql(f"INSERT INTO targets ({columns}) VALUES (?, ?, ?, ?, ?)", row)
        found = []
        for revision, step in (("0002", command.downgrade), ("0004", command.upgrade)):
            config = Config()
            config.set_main_option("script_location", str(files("wharfinger_daemon.storage") / "migrations"))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            step(config, revision)
            found.append(connection.execute(text(f"SELECT {columns} FROM targets")).one())
        return tuple(found)  # type: ignore[return-value]

    assert (row, row) == tuple(map(tuple, database.run_blocking(work)))
