"""The database: one engine, and a way to run transactions without blocking the event loop.

SQLite allows one writer at a time, so its transactions run one after another on one thread; what they commit is on the
disk (``synchronous=FULL``). PostgreSQL runs them on a small pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        is_sqlite = self._engine.dialect.name == "sqlite"
        self._threads = ThreadPoolExecutor(
            max_workers=1 if is_sqlite else _POSTGRESQL_CONNECTIONS, thread_name_prefix="database"
        )

    @property
    def engine(self) -> Engine:
        """The engine itself, for migrations."""
        return self._engine

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Runs ``work`` in one transaction on a thread; commits when it returns, rolls back when it raises.

        A cancelled caller does not interrupt a transaction that has begun: it may still commit.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.run_blocking, work)

    def run_blocking(self, work: Callable[[Connection], T]) -> T:
        """The same on the calling thread, for programs without an event loop."""
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            raise UnavailableError(
                f"The database does not answer as it should: {error.orig}. Look at the disk or the server, then retry.",
                reason=Reason.DATABASE_UNAVAILABLE,
            ) from error
        except SQLAlchemyError as error:
            raise UnavailableError(
                f"The database failed: {error}. Retry.", reason=Reason.DATABASE_UNAVAILABLE
            ) from error

    def close(self) -> None:
        """Waits for running transactions and closes all connections."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()


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
    connection.exec_driver_sql("BEGIN IMMEDIATE")
