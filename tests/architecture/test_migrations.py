"""The migrations and the schema say the same."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from wharfinger_daemon.storage import migrate, schema
from wharfinger_daemon.storage.database import Database


def test_migrations_build_exactly_the_schema(tmp_path: Path) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, schema.metadata))

    with closing(Database(f"sqlite:///{tmp_path / 'new.db'}")) as database:
        migrate.upgrade(database)
        assert [] == database.run_blocking(differences)


def test_upgrading_again_changes_nothing(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path / 'new.db'}")) as database:
        first = migrate.upgrade(database)
        assert (None, migrate.newest_revision()) == first
        assert (first[1], first[1]) == migrate.upgrade(database)
        migrate.require_current(database)
