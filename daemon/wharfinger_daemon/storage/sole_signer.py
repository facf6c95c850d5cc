"""One signer for a database.

What holds at a moment (states of keys, suspensions, what is trusted) is kept in the memory of the process that signs.
A second one would go on signing by what it has not heard of: after a suspension, or with a key that was revoked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wharfinger_daemon.storage.database import Database


@contextmanager
def sole_signer(database: Database, lost: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keeps others from signing with this database, and from changing what signing goes by, as long as the block runs.

    Beside SQLite it is a lock on a file, which the kernel lets go of when the process ends, however it ends. On
    PostgreSQL it is a lock of the server (``signers_place``), which a process that is paused, or cut off from the
    server, may lose to another; from then on it writes nothing more to ledger and log (FENCED).

    Args:
        lost: called at most once, on whatever thread, when another has taken the place.

    Raises:
        StartupError: PUBLISHER_RUNNING; somebody else has it.
        UnavailableError: DATABASE_UNAVAILABLE; the lock cannot be taken.
    """
    with database.sole_signer(lost):
        yield
