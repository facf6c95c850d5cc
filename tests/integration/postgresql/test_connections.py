"""How the daemon comes to its PostgreSQL server, and what it demands of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text

from tests.support.daemon_process import free_port
from tests.support.postgresql_cluster import PostgresqlCluster
from wharfinger_daemon.config.settings import DatabaseSettings
from wharfinger_daemon.errors import InvalidRequestError, Reason, StartupError, UnavailableError
from wharfinger_daemon.storage import migrate, schema
from wharfinger_daemon.storage.audit_reading import read_audit
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.revision import NEWEST_REVISION, require_current
from wharfinger_daemon.storage.schema import targets


@pytest.fixture
def empty(postgresql: PostgresqlCluster) -> Iterator[Database]:
    """Without any table."""
    with closing(Database(postgresql.new_url(upgraded=False))) as database:
        yield database


def test_all_migrations_together_are_the_schema(empty: Database) -> None:
    migrate.upgrade(empty)
    assert [] == empty.run_blocking(
        lambda connection: compare_metadata(MigrationContext.configure(connection), schema.metadata)
    )


def test_an_empty_database_is_refused_with_the_command_that_helps(empty: Database) -> None:
    with pytest.raises(StartupError, match="wharfinger db upgrade"):
        require_current(empty)


def test_two_upgrades_at_once_run_one_after_another(empty: Database) -> None:
    outcomes: list[tuple[str | None, str]] = []

    def upgrade() -> None:
        with closing(Database(empty.engine.url.render_as_string())) as database:
            outcomes.append(migrate.upgrade(database))

    threads = [Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter({(None, NEWEST_REVISION): 1, (NEWEST_REVISION, NEWEST_REVISION): 2}) == Counter(outcomes)


def test_commits_are_on_the_disk_whatever_the_server_says(postgresql: PostgresqlCluster) -> None:
    """A ledger row could vanish after its signature left."""
    name = postgresql.new_database()
    with closing(postgresql.connect()) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with closing(Database(postgresql.url(name))) as database:
        shown = text("SHOW synchronous_commit")
        assert "on" == database.run_blocking(lambda connection: connection.execute(shown).scalar_one())
        with database.transaction(synced=False) as unsynced:
            assert "off" == unsynced.execute(shown).scalar_one()
        assert "on" == database.run_blocking(lambda connection: connection.execute(shown).scalar_one())


def test_text_is_ordered_by_its_bytes_whatever_the_locale_of_the_server(postgresql: PostgresqlCluster) -> None:
    with closing(postgresql.connect()) as connection:
        connection.execute("CREATE DATABASE elsewhere TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    paths = ["a/b", "B", "a-c", "_", "a"]
    rows = [{"repository": "r", "path": path, "bin": "bins-0", "length": 1, "hashes": "{}"} for path in paths]
    with closing(Database(postgresql.url("elsewhere"))) as database:
        migrate.upgrade(database)
        database.run_blocking(lambda connection: connection.execute(insert(targets), rows))
        query = select(targets.c.path).order_by(targets.c.path)
        assert sorted(paths) == database.read_blocking(lambda connection: list(connection.execute(query).scalars()))


@pytest.mark.parametrize("value", ["a\0b", "a" * 2000], ids=["NUL", "too long"])
def test_text_that_the_server_cannot_keep_is_a_wrong_request(postgresql_url: str, value: str) -> None:
    row = {"repository": "r", "path": value, "bin": "bins-0", "length": 1, "hashes": "{}"}
    with closing(Database(postgresql_url)) as database, pytest.raises(InvalidRequestError) as caught:
        database.run_blocking(lambda connection: connection.execute(insert(targets), row))
    assert Reason.MALFORMED_REQUEST == caught.value.reason


@pytest.fixture
def guarded(postgresql: PostgresqlCluster) -> str:
    """The URL of a database that demands a password: over TCP."""
    name = postgresql.new_database()
    with closing(postgresql.connect()) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'first secret'")
    return f"postgresql+psycopg://{name}@127.0.0.1:{postgresql.port}/{name}"


def one(connection: Connection) -> int:
    return int(connection.execute(text("SELECT 1")).scalar_one())


def test_password_is_read_from_its_file_for_every_connection(
    guarded: str, postgresql: PostgresqlCluster, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("first secret\n")
    with closing(Database(guarded, password_file=file)) as database:
        assert 1 == database.read_blocking(one)
        name = database.engine.url.database
        with closing(postgresql.connect()) as connection:
            connection.execute(f"ALTER ROLE {name} PASSWORD 'second secret'")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (name,))
        with pytest.raises(UnavailableError):
            database.read_blocking(one)
        file.write_text("second secret\n")
        assert 1 == database.read_blocking(one)


@pytest.mark.parametrize("content", ["wrong secret", None], ids=["wrong", "missing"])
def test_password_that_is_refused_is_not_told(guarded: str, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    with closing(Database(guarded, password_file=file)) as database, pytest.raises(UnavailableError) as caught:
        database.read_blocking(one)
    assert Reason.DATABASE_UNAVAILABLE == caught.value.reason
    assert "secret" not in caught.value.message
    assert ("password authentication failed" if content else "No such file") in caught.value.message


def test_server_that_is_not_there_is_told_in_one_line() -> None:
    url = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing"
    with closing(Database(url)) as database, pytest.raises(UnavailableError) as caught:
        database.read_blocking(one)
    assert Reason.DATABASE_UNAVAILABLE == caught.value.reason
    assert "\n" not in caught.value.message
    with pytest.raises(StartupError, match="nothing cannot be read"), read_audit(DatabaseSettings(url=url)):
        pass
