"""The database: a way to run transactions without blocking the event loop, the same on SQLite and on PostgreSQL.

``sqlite_backend`` and ``postgresql_backend`` have what is different.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from wharfinger_daemon.config.settings import DatabaseSettings
from wharfinger_daemon.errors import InvalidRequestError, Reason, UnavailableError
from wharfinger_daemon.storage.backend import Access, Backend, Turns
from wharfinger_daemon.storage.postgresql_backend import PostgresqlBackend
from wharfinger_daemon.storage.sqlite_backend import SqliteBackend

T = TypeVar("T")

_SYNCED, _UNSYNCED, _READING = Access(), Access(synced=False), Access(reading=True)


class Database:
    """Runs transactions.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql+psycopg://USER@HOST/NAME``.
        password_file: of a PostgreSQL server; read for each connection, so that it may be changed.
        statement_seconds: how long a PostgreSQL server may take for one statement, waiting for others included.

    Raises:
        UnavailableError: from every method, when the database does not answer.
        InvalidRequestError: MALFORMED_REQUEST; from ``run`` and ``read``, for text that PostgreSQL cannot keep.
    """

    def __init__(self, url: str, *, password_file: Path | None = None, statement_seconds: float = 30) -> None:
        parsed = make_url(url)
        self._backend: Backend
        if parsed.get_backend_name() == "sqlite":
            self._backend = SqliteBackend(parsed)
        else:
            self._backend = PostgresqlBackend(parsed, password_file, statement_seconds)
        # Some statements go to the driver as they are, so its own errors come through too.
        self._driver_errors = (DBAPIError, self.engine.dialect.loaded_dbapi.Error)
        self._closing: list[Callable[[], None]] = []
        self._threads = ThreadPoolExecutor(max_workers=self._backend.threads, thread_name_prefix="database")

    @classmethod
    def of(cls, settings: DatabaseSettings) -> Database:
        """The database of a configuration."""
        return cls(
            settings.url,
            password_file=settings.password_file,
            statement_seconds=settings.statement_timeout_seconds,
        )

    @property
    def engine(self) -> Engine:
        """The engine itself, for migrations."""
        return self._backend.engine

    @property
    def file(self) -> str | None:
        """The path of the database file; None for a server, or in memory."""
        return self._backend.file

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Runs ``work`` in one transaction on a thread; commits when it returns, rolls back when it raises.

        On PostgreSQL others may run at the same time (READ COMMITTED): who decides by what is read must lock it. What
        goes into ledger or log goes through the journal instead, which lets one write at a time.

        A cancelled caller does not interrupt a transaction that has begun: it may still commit.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.run_blocking, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs ``work`` that only reads; all that it reads is of one moment."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.read_blocking, work)

    def at_close(self, work: Callable[[], None]) -> None:
        """Has something done before the connections are closed, such as ending a thread that uses them."""
        self._closing.append(work)

    def run_blocking(self, work: Callable[[Connection], T]) -> T:
        """``run`` on the calling thread, for programs without an event loop."""
        with _storable(), self.transaction() as connection:
            return work(connection)

    def read_blocking(self, work: Callable[[Connection], T]) -> T:
        """``read`` on the calling thread."""
        with _storable(), self.reading() as connection:
            return work(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction on the calling thread that only reads, and sees one moment."""
        with self._begun(_READING) as connection:
            yield connection

    @contextmanager
    def transaction(self, *, synced: bool = True) -> Iterator[Connection]:
        """A transaction on the calling thread, which commits unless the block raises.

        Args:
            synced: whether to wait until what is committed is on the disk. Otherwise it outlives this process, and a
                failure of power (or of a PostgreSQL server) may lose it; the next synced transaction makes it durable
                too.
        """
        with self._begun(_SYNCED if synced else _UNSYNCED) as connection:
            yield connection

    def turns(self) -> Turns:
        """The turns of a journal."""
        return self._backend.turns()

    def statement(self, statement: Any) -> str:
        """A statement as the driver takes it, with its parameters by position."""
        return self._backend.statement(statement)

    @contextmanager
    def sole_signer(self, lost: Callable[[], None]) -> Iterator[None]:
        """See ``storage.sole_signer``."""
        with ExitStack() as stack:
            with self._answering():
                stack.enter_context(self._backend.sole_signer(lost))
            yield

    def close(self) -> None:
        """Waits for running transactions and closes all connections."""
        for work in self._closing:
            work()
        self._threads.shutdown(wait=True)
        self._backend.close()

    @contextmanager
    def _begun(self, access: Access) -> Iterator[Connection]:
        with self._answering(), self._backend.transaction(access) as connection:
            yield connection

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._driver_errors as error:
            raise UnavailableError(
                f"The database does not answer as it should: {_told(error)}. Look at the disk or the "
                "server, then retry.",
                reason=Reason.DATABASE_UNAVAILABLE,
            ) from error
        except SQLAlchemyError as error:
            raise UnavailableError(
                f"The database failed: {error}. Retry.", reason=Reason.DATABASE_UNAVAILABLE
            ) from error


@contextmanager
def _storable() -> Iterator[None]:
    # PostgreSQL keeps no text with a NUL, and none that is longer than its column, not even to look for it.
    try:
        yield
    except UnavailableError as error:
        if not isinstance(error.__cause__, DataError):
            raise
        raise InvalidRequestError(
            "The request holds text that the database cannot keep: too long, or with a NUL character.",
            reason=Reason.MALFORMED_REQUEST,
        ) from error


def _told(error: Exception) -> str:
    # PostgreSQL tells in several lines.
    return " ".join(str(getattr(error, "orig", error)).split()).removesuffix(".")
