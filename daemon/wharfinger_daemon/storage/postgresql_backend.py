"""PostgreSQL, version 14 or later, through psycopg 3.

Three kinds of transactions: what reads sees one moment (REPEATABLE READ, READ ONLY); what writes ledger, log,
publications and keys has the *turn*, the lock on the one row of ``writing_turns``, from its beginning, so that all of
these run one after another in whatever process, and each sees what the one before has committed (READ COMMITTED: what
is seen is chosen after the lock is there); what writes scans locks the rows that it decides by.

The turn's number goes up by one with each. A writer that finds it lower than what was durable talks to a server that
lost commits, such as a replica that was promoted too early, and stops. The row's token names the process that signs: a
newer one raises it, and the older one finds that at its next turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.engine import URL

from wharfinger_daemon.errors import CorruptStateError, Reason, UnavailableError
from wharfinger_daemon.storage.backend import Access
from wharfinger_daemon.storage.signers_place import SignersPlace

_THREADS = 8
# Two of the threads that write and have no thread of the pool: the journal's, and the main one's before it serves.
_CONNECTIONS = _THREADS + 2
_CONNECT_SECONDS = 10
# A process that is stopped in the middle of a transaction must not keep the turn from others for ever.
_IDLE_IN_TRANSACTION_SECONDS = 60
# "format" has parameters by position. SQLAlchemy's usual style has them by name.
_BY_POSITION = psycopg_dialect.PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]


class PostgresqlBackend:
    """``Backend`` on a server.

    Args:
        password_file: see ``Database``.
        statement_seconds: see ``Database``.
    """

    threads = _THREADS
    file: str | None = None

    def __init__(self, url: URL, password_file: Path | None, statement_seconds: float) -> None:
        self._password_file = password_file
        self._statement_ms = round(statement_seconds * 1000)
        # Before it is used, a connection is tried: the server may have been started anew since.
        self.engine = create_engine(
            url,
            connect_args=_CONNECT_ARGUMENTS,
            pool_size=_CONNECTIONS,
            max_overflow=_CONNECTIONS,
            pool_use_lifo=True,
            pool_pre_ping=True,
        )
        event.listen(self.engine, "do_connect", self._add_password)
        event.listen(self.engine, "connect", self._prepare)
        event.listen(self.engine, "begin", _begin)
        self.token: int | None = None

    @contextmanager
    def transaction(self, access: Access) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            connection.info["begin"] = _beginning(access)
            with connection.begin():
                yield connection

    def turns(self) -> _NumberedTurns:
        return _NumberedTurns(self)

    def statement(self, statement: Any) -> str:
        return str(statement.compile(dialect=_BY_POSITION))

    @contextmanager
    def sole_signer(self, lost: Callable[[], None]) -> Iterator[None]:
        place = SignersPlace(self._connect, lost)
        self.token = place.token
        try:
            yield
        finally:
            self.token = None
            place.leave()

    def close(self) -> None:
        self.engine.dispose()

    def _connect(self) -> psycopg.Connection[Any]:
        """A connection that is not of the pool, whose come and go."""
        arguments, said = self.engine.dialect.create_connect_args(self.engine.url)
        parameters = {**said, **_CONNECT_ARGUMENTS}
        self._add_password(None, None, None, parameters)
        return psycopg.connect(*arguments, **parameters)

    def _add_password(self, dialect: object, record: object, arguments: object, parameters: dict[str, Any]) -> None:
        if self._password_file is None:
            return
        try:
            parameters["password"] = self._password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(
                f"The password of the database cannot be read from {self._password_file}: "
                f"{getattr(error, 'strerror', None) or 'it is not text'}. Look at database.password_file.",
                reason=Reason.DATABASE_UNAVAILABLE,
            ) from error

    def _prepare(self, connection: psycopg.Connection[Any], record: object) -> None:
        # Whatever the server, the database or the user says otherwise: a commit that returned is on the disk.
        connection.execute(
            "SET synchronous_commit = on;"
            f"SET statement_timeout = {self._statement_ms};"
            f"SET idle_in_transaction_session_timeout = {_IDLE_IN_TRANSACTION_SECONDS * 1000};"
            "SET client_encoding = 'UTF8'",
            prepare=False,
        )


class _NumberedTurns:
    """``Turns`` on the row of ``writing_turns``."""

    def __init__(self, backend: PostgresqlBackend) -> None:
        self._backend = backend
        self._taken = 0
        self._kept: int | None = None
        self._durable = 0

    def take(self, connection: Connection) -> bool:
        driver: Any = connection.connection.dbapi_connection
        row = driver.execute("UPDATE writing_turns SET number = number + 1 RETURNING number, token").fetchone()
        if row is None:
            raise CorruptStateError(
                "The table writing_turns of the database is empty. Restore the newest copy of the database.",
                reason=Reason.LEDGER_BEHIND,
            )
        number, token = row
        if self._backend.token not in (None, token):
            raise UnavailableError(
                "Another process signs with this database by now, so this one writes nothing any more, and ends. Ask "
                "the other.",
                reason=Reason.FENCED,
            )
        if number <= self._durable:
            raise CorruptStateError(
                f"The database lost what it had said to be durable: turn {number} comes after turn {self._durable}. "
                "Stop the daemon and look for the server that has the newest state; a replica may have been promoted "
                "that was behind.",
                reason=Reason.LEDGER_BEHIND,
            )
        unchanged = self._kept is not None and self._kept + 1 == number
        self._kept, self._taken = None, int(number)
        return unchanged

    def keep(self, *, synced: bool) -> None:
        self._kept = self._taken
        if synced:
            self._durable = self._taken


_CONNECT_ARGUMENTS = {
    # ``begin`` says how a transaction begins, so the driver must not do it by itself.
    "autocommit": True,
    "connect_timeout": _CONNECT_SECONDS,
    "application_name": "wharfinger",
    # A server that vanished without a word is noticed.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def _beginning(access: Access) -> str:
    if access.reading:
        return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    if access.synced:
        return "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    return "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = off"


def _begin(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    driver.execute(connection.info.get("begin", _beginning(Access())), prepare=False)
