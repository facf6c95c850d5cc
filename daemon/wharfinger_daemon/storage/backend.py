"""What a database server or library does in its own way. ``Database`` is the same on each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, Engine


@dataclass(frozen=True)
class Access:
    """What a transaction wants.

    Attributes:
        synced: whether to wait at its end until it is on the disk.
        reading: whether it only reads, and all that it reads must be of one moment.
    """

    synced: bool = True
    reading: bool = False


class Turns(Protocol):
    """Who writes ledger and log next: of all transactions that take a turn, in whatever process, one runs at a time."""

    def take(self, connection: Connection) -> bool:
        """Waits for the turn, which lasts until the transaction's end.

        Returns:
            Whether nobody else wrote since the last turn that was kept: what is remembered from it still holds.

        Raises:
            UnavailableError: FENCED; another process signs with this database by now.
            CorruptStateError: LEDGER_BEHIND; the database lost what it had said to be durable.
        """
        ...

    def keep(self, *, synced: bool) -> None:
        """To be told when the transaction of the last turn is committed."""
        ...


class Backend(Protocol):
    """One kind of database.

    Attributes:
        engine: SQLAlchemy's, with its connections prepared.
        threads: how many transactions of ``Database.run`` may run at once.
        file: the path of the database's file; None if it has none.
    """

    engine: Engine
    threads: int
    file: str | None

    def transaction(self, access: Access) -> AbstractContextManager[Connection]:
        """A transaction on the calling thread, which commits unless the block raises."""
        ...

    def turns(self) -> Turns:
        """The turns of one journal."""
        ...

    def sole_signer(self, lost: Callable[[], None]) -> AbstractContextManager[None]:
        """Keeps others from signing with this database, and from changing what signing goes by, while the block runs.

        Args:
            lost: called at most once, on whatever thread, when another has taken the place all the same.

        Raises:
            StartupError: PUBLISHER_RUNNING; somebody else has it.
            UnavailableError: DATABASE_UNAVAILABLE; it cannot be found out.
        """
        ...

    def statement(self, statement: Any) -> str:
        """A statement as the driver takes it, with its parameters by position."""
        ...

    def close(self) -> None:
        """Closes all connections."""
        ...
