"""SQLite: one file, one writer at a time, and what a commit returned for is on the disk (``synchronous=FULL``)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.storage.backend import Access
from wharfinger_daemon.storage.lock_file import lock_file


class SqliteBackend:
    """``Backend`` on a file, or in memory."""

    threads = 1

    def __init__(self, url: URL) -> None:
        self.engine = create_engine(url)
        event.listen(self.engine, "connect", _prepare)
        event.listen(self.engine, "begin", _begin)
        self.file = url.database or None
        self._identity: tuple[int, int] | None = None
        # SQLite lets one writer in at a time, and makes the others wait by sleeping and trying again.
        self._turn = threading.Lock()
        self._local = threading.local()
        self._connections: list[Connection] = []

    @contextmanager
    def transaction(self, access: Access) -> Iterator[Connection]:
        connection = self._connection()
        self._require_same_file()
        with self._turn, _synchronous(connection, access.synced), connection.begin():
            yield connection

    def turns(self) -> _DataVersion:
        return _DataVersion()

    def sole_signer(self, lost: Callable[[], None]) -> AbstractContextManager[None]:
        return lock_file(self.file)

    def statement(self, statement: Any) -> str:
        return str(statement.compile(dialect=self.engine.dialect))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self.engine.dispose()

    def _connection(self) -> Connection:
        """This thread's connection. It is kept: to take one from the pool costs as much as a small transaction."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed or connection.invalidated:
            connection = self._local.connection = self.engine.connect()
            self._connections.append(connection)
        return connection

    def _require_same_file(self) -> None:
        # SQLite goes on writing into a file that was moved away or removed, and after a restart all that would be gone.
        if not self.file:
            return
        try:
            state = os.stat(self.file)  # noqa: PTH116  # for each transaction, and a Path costs ten times as much
        except OSError as error:
            raise _moved(self.file) from error
        identity = (state.st_dev, state.st_ino)
        self._identity = self._identity or identity
        if identity != self._identity:
            raise _moved(self.file)


class _DataVersion:
    """``Turns``: the write lock, which every transaction takes at its beginning, and SQLite's ``data_version``."""

    def __init__(self) -> None:
        self._kept: tuple[int, int] | None = None
        self._taken: tuple[int, int] | None = None

    def take(self, connection: Connection) -> bool:
        driver: Any = connection.connection.dbapi_connection
        [version] = driver.cursor().execute("PRAGMA data_version").fetchone()
        # The number says nothing about a turn of another connection.
        self._taken = (id(driver), version)
        unchanged, self._kept = self._taken == self._kept, None
        return unchanged

    def keep(self, *, synced: bool) -> None:
        self._kept = self._taken


def _moved(file: str) -> UnavailableError:
    return UnavailableError(
        f"The database file {file} was moved, removed or replaced under the running daemon, so nothing is written any "
        "more. Stop the daemon, put the file back, and start again.",
        reason=Reason.DATABASE_UNAVAILABLE,
    )


@contextmanager
def _synchronous(connection: Connection, synced: bool) -> Iterator[None]:
    if synced:
        yield
        return
    cursor = connection.connection.cursor()
    try:
        cursor.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            cursor.execute("PRAGMA synchronous = FULL")
    finally:
        cursor.close()


def _prepare(connection: Any, record: object) -> None:
    # The driver must not begin transactions by itself, or BEGIN IMMEDIATE below would come too late.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.close()


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once, so that two processes cannot both read and then fail to upgrade.
    driver = connection.connection.dbapi_connection
    assert driver is not None  # It has just begun to be used.
    driver.cursor().execute("BEGIN IMMEDIATE")
