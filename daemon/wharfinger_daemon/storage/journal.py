"""The one writer of the ledger and the audit log: many requests share one durable write.

What waits while a transaction runs goes into the next one together (group commit). Each piece of work is decided by
itself: one that is refused leaves nothing behind, and its neighbours go on. When the transaction fails, all of them do;
and so they do after any error that is no refusal, for nobody knows what of the transaction is left.

The right edge of the log's tree is kept in memory, and so is whatever the pieces of work keep beside it; both are
dropped as soon as anybody else has changed the database (the turns of the database tell).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Insert, Update, insert

from wharfinger_daemon.audit.leaf import Leaf, LeafReference
from wharfinger_daemon.audit.merkle import STORED_LEVELS, Frontier, leaf_hash
from wharfinger_daemon.errors import OverloadedError, Reason, UnavailableError, WharfingerError
from wharfinger_daemon.storage.audit_tree import load_frontier
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.schema import audit_leaves, audit_nodes, metadata

T = TypeVar("T")
Row = tuple[object, ...]

_MOST_WAITING = 4096
_LEAVES, _NODES = insert(audit_leaves), insert(audit_nodes)
_PLACES: dict[object, int] = {table: place for place, table in enumerate(metadata.sorted_tables)}


class JournalTransaction:
    """One transaction. Rows are collected, and written together at its end or at ``flush``.

    Attributes:
        connection: for work that reads, or has the transaction for itself.
        driver: the driver's own connection beneath it, for statements that are compiled already.
        generation: changes whenever somebody else changed the database: what was remembered before is worthless.
        keep: for what pieces of work share within the transaction, by its owner.
        frontier: of the log's tree, with what was flushed.
    """

    def __init__(
        self, connection: Connection, statement: Callable[[Insert | Update], str], frontier: Frontier, generation: int
    ) -> None:
        self.connection = connection
        self.driver: Any = connection.connection.dbapi_connection
        self._statement = statement
        self.generation = generation
        self.keep: dict[object, Any] = {}
        self.frontier = frontier
        self._rows: list[tuple[Insert, Row]] = []
        self._flushed = 0
        self._size = frontier.size
        self._committed: list[Callable[[], None]] = []

    @property
    def log_size(self) -> int:
        """The number of leaves, with those of this transaction."""
        return self._size

    def log(self, leaf: Leaf) -> LeafReference:
        """Adds a leaf to the log, which is written with the transaction or not at all."""
        encoded = leaf.encode()
        reference = LeafReference(self._size, leaf_hash(encoded))
        self._size += 1
        self._rows.append((_LEAVES, (reference.index, reference.hash, encoded)))
        return reference

    def add(self, statement: Insert, row: Row) -> None:
        """Adds a row; its values are in the order of the table's columns, as the driver takes them."""
        self._rows.append((statement, row))

    def on_commit(self, then: Callable[[], None]) -> None:
        """Has something done once the transaction is committed."""
        self._committed.append(then)

    def flush(self) -> None:
        """Writes what was collected, so that it can be read."""
        rows, self._rows = self._rows, []
        self._flushed += len(rows)
        by_statement: dict[Insert, list[Row]] = {}
        for statement, row in rows:
            by_statement.setdefault(statement, []).append(row)
        for _, value, _ in by_statement.get(_LEAVES, []):
            assert isinstance(value, bytes)  # As ``log`` made it.
            for node in self.frontier.append(value):
                if node.level % STORED_LEVELS == 0:
                    by_statement.setdefault(_NODES, []).append((node.level, node.position, node.hash))
        # What is referred to goes before what refers to it.
        for statement, values in sorted(by_statement.items(), key=lambda item: _PLACES[item[0].table]):
            self.execute_many(statement, values)

    def execute_many(self, statement: Insert | Update, rows: Sequence[Row]) -> int:
        """Executes a statement for each row at once; returns how many rows it changed.

        The values are in the order of the statement's parameters, as the driver takes them.
        """
        cursor = self.driver.cursor()
        cursor.executemany(self._statement(statement), rows)
        changed: int = cursor.rowcount
        return changed

    def mark(self) -> tuple[int, int]:
        """Where to go back to with ``undo``."""
        return self._flushed + len(self._rows), self._size

    def undo(self, mark: tuple[int, int]) -> None:
        """Forgets what was collected since a mark, and not flushed."""
        rows, self._size = mark
        del self._rows[max(0, rows - self._flushed) :]

    def finish(self) -> None:
        """Tells everybody who wants to know that the transaction is committed."""
        for then in self._committed:
            then()


@dataclass(eq=False)
class _Waiting(Generic[T]):
    """A piece of work that waits for its transaction."""

    work: Callable[[JournalTransaction], T]
    synced: bool
    alone: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[T] = field(init=False)
    result: T | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.done = self.loop.create_future()

    def resolve(self) -> None:
        if self.done.done():
            return  # Its caller has gone.
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)  # type: ignore[arg-type]  # Set by then.


class Journal:
    """Writes; one for a database, with a thread of its own that ends when the database is closed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: SimpleQueue[_Waiting[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self._turns = database.turns()
        self._statements: dict[Insert | Update, str] = {}
        self._generation = 0
        self._frontier: Frontier | None = None
        database.at_close(self._stop)

    async def write(self, work: Callable[[JournalTransaction], T]) -> T:
        """Runs work in a durable transaction of its own; if it raises, nothing of it is written.

        Raises:
            UnavailableError: the database does not answer, or was closed.
            OverloadedError: too much waits already.
        """
        return await self._put(work, synced=True, alone=True)

    async def share(self, work: Callable[[JournalTransaction], T], *, synced: bool = True) -> T:
        """Runs work in a transaction that it shares with others.

        The work collects rows by ``log`` and ``add``; a ``WharfingerError`` undoes those, and concerns nobody else. So
        it must not write through the connection before it could still raise one.

        Args:
            synced: as for ``Database.transaction``; synced work makes its neighbours durable too.

        Raises:
            UnavailableError: the database does not answer, or was closed.
            OverloadedError: too much waits already.
        """
        return await self._put(work, synced=synced, alone=False)

    def write_blocking(self, work: Callable[[JournalTransaction], T]) -> T:
        """``write`` on the calling thread, for programs without an event loop."""
        with self._lock, self._database.transaction() as connection:
            transaction = self._begin(connection, synced=True)
            result = work(transaction)
            transaction.flush()
        transaction.finish()
        return result

    async def _put(self, work: Callable[[JournalTransaction], T], *, synced: bool, alone: bool) -> T:
        if self._stopped:  # Nobody would answer.
            raise UnavailableError("The database is closed: the daemon stops. Retry.", reason=Reason.DRAINING)
        if self._queue.qsize() >= _MOST_WAITING:
            raise OverloadedError(
                f"{_MOST_WAITING} requests wait for the ledger already. Retry with back-off.",
                reason=Reason.TOO_MANY_CONCURRENT_REQUESTS,
            )
        waiting = _Waiting(work, synced, alone, asyncio.get_running_loop())
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        self._queue.put(waiting)
        return await waiting.done

    def _run(self) -> None:
        following: _Waiting[Any] | None = None
        while (first := following or self._queue.get()) is not None:
            group, following = self._group(first)
            try:
                with self._lock:
                    self._transact(group)
            except BaseException as error:  # noqa: BLE001  # Reaches every caller, whatever it is.
                for waiting in group:
                    waiting.error = waiting.error or error
            _tell(group)

    def _group(self, first: _Waiting[Any]) -> tuple[list[_Waiting[Any]], _Waiting[Any] | None]:
        """What shares a transaction with a piece of work, and what was taken from the queue and does not."""
        group = [first]
        while not first.alone:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                self._queue.put(None)  # The end; first comes what was asked before.
                break
            if waiting.alone:
                return group, waiting
            group.append(waiting)
        return group, None

    def _stop(self) -> None:
        self._stopped = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _transact(self, group: Sequence[_Waiting[Any]]) -> None:
        synced = any(one.synced for one in group)
        with self._database.transaction(synced=synced) as connection:
            transaction = self._begin(connection, synced=synced)
            for waiting in group:
                if waiting.done.cancelled():
                    continue  # Its caller has gone.
                mark = transaction.mark()
                try:
                    waiting.result = waiting.work(transaction)
                except Exception as error:
                    # SQLite itself rolls the whole transaction back when, for one, the disk is full: what the others
                    # wrote is gone then, and what they still write would be in no transaction.
                    if waiting.alone or not isinstance(error, WharfingerError):
                        raise
                    transaction.undo(mark)
                    waiting.error = error
            transaction.flush()
        transaction.finish()

    def _begin(self, connection: Connection, *, synced: bool) -> JournalTransaction:
        if not self._turns.take(connection) or self._frontier is None:
            self._generation += 1
            self._frontier = load_frontier(connection)
        transaction = JournalTransaction(connection, self._compiled, self._frontier.copy(), self._generation)
        transaction.on_commit(lambda: self._remember(transaction, synced))
        return transaction

    def _remember(self, transaction: JournalTransaction, synced: bool) -> None:
        self._frontier = transaction.frontier
        self._turns.keep(synced=synced)

    def _compiled(self, statement: Insert | Update) -> str:
        # Compiled once and given to the driver as it is: the library's own way costs more than the row does.
        if statement not in self._statements:
            self._statements[statement] = self._database.statement(statement)
        return self._statements[statement]


def _tell(group: Sequence[_Waiting[Any]]) -> None:
    # The event loop may have ended before the last of its calls was answered.
    with suppress(RuntimeError):
        group[0].loop.call_soon_threadsafe(_resolve, group)


def _resolve(group: Sequence[_Waiting[Any]]) -> None:
    for waiting in group:
        waiting.resolve()
