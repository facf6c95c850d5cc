"""The database: one engine, and a way to run transactions without blocking the event loop.

SQLite allows one writer at a time, so its transactions run one after another on one thread; what they commit is on the
disk (``synchronous=FULL``). PostgreSQL runs them on a small pool.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from wharfinger_daemon.errors import Reason, UnavailableError

T = TypeVar("T")

_POSTGRESQL_CONNECTIONS = 8


class Database:
    """Runs transactions.

    Raises:
        UnavailableError: from every method, when the database does not answer.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._file = self._engine.url.database if self._is_sqlite else None
        self._identity: tuple[int, int] | None = None
        # Some statements go to the driver as they are, so its own errors come through too.
        self._driver_errors = (DBAPIError, self._engine.dialect.loaded_dbapi.Error)
        # SQLite lets one writer in at a time, and makes the others wait by sleeping and trying again.
        self._turn: AbstractContextManager[object] = threading.Lock() if self._is_sqlite else nullcontext()
        self._closing: list[Callable[[], None]] = []
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._threads = ThreadPoolExecutor(
            max_workers=1 if self._is_sqlite else _POSTGRESQL_CONNECTIONS, thread_name_prefix="database"
        )

    @property
    def engine(self) -> Engine:
        """The engine itself, for migrations."""
        return self._engine

    @property
    def file(self) -> str | None:
        """The path of the database file; None for a server, or in memory."""
        return self._file or None

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Runs ``work`` in one transaction on a thread; commits when it returns, rolls back when it raises.

        A cancelled caller does not interrupt a transaction that has begun: it may still commit.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.run_blocking, work)

    def at_close(self, work: Callable[[], None]) -> None:
        """Has something done before the connections are closed, such as ending a thread that uses them."""
        self._closing.append(work)

    def run_blocking(self, work: Callable[[Connection], T]) -> T:
        """The same on the calling thread, for programs without an event loop."""
        with self.transaction() as connection:
            return work(connection)

    @contextmanager
    def transaction(self, *, synced: bool = True) -> Iterator[Connection]:
        """A transaction on the calling thread, which commits unless the block raises.

        Args:
            synced: whether to wait until what is committed is on the disk. Otherwise it outlives this process, and a
                failure of power may lose it; the next synced transaction makes it durable too.
        """
        try:
            connection = self._connection()
            if self._is_sqlite:
                self._require_same_file()
            with self._turn, _synchronous(connection, synced), connection.begin():
                yield connection
        except self._driver_errors as error:
            raise UnavailableError(
                f"The database does not answer as it should: {getattr(error, 'orig', error)}. Look at the disk or the "
                "server, then retry.",
                reason=Reason.DATABASE_UNAVAILABLE,
            ) from error
        except SQLAlchemyError as error:
            raise UnavailableError(
                f"The database failed: {error}. Retry.", reason=Reason.DATABASE_UNAVAILABLE
            ) from error

    def _connection(self) -> Connection:
        """This thread's connection. It is kept: to take one from the pool costs as much as a small transaction."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed or connection.invalidated:
            connection = self._local.connection = self._engine.connect()
            self._connections.append(connection)
        return connection

    def _require_same_file(self) -> None:
        # SQLite goes on writing into a file that was moved away or removed, and after a restart all that would be gone.
        if not self._file:
            return
        try:
            state = os.stat(self._file)  # noqa: PTH116  # for each transaction, and a Path costs ten times as much
        except OSError as error:
            raise _moved(self._file) from error
        identity = (state.st_dev, state.st_ino)
        self._identity = self._identity or identity
        if identity != self._identity:
            raise _moved(self._file)

    def close(self) -> None:
        """Waits for running transactions and closes all connections."""
        for work in self._closing:
            work()
        self._threads.shutdown(wait=True)
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._engine.dispose()


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


def _engine(url: str) -> Engine:
    engine = create_engine(make_url(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    # The driver must not begin transactions by itself, or BEGIN IMMEDIATE below would come too late.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once, so that two processes cannot both read and then fail to upgrade.
    driver = connection.connection.dbapi_connection
    assert driver is not None  # It has just begun to be used.
    driver.cursor().execute("BEGIN IMMEDIATE")
