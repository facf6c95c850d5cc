"""The place of the one signer on a PostgreSQL server: a lock that the server keeps for a connection that shows life.

The lock is an advisory one. It ends with its connection: at once if the process ends, and within ``_SILENT_SECONDS`` if
it is paused or its host is gone, because the server ends a connection that is silent for so long. A thread speaks every
second. If it finds the connection broken, it takes the lock again as soon as the server answers: a server that was
restarted costs nobody the place, unless another was quicker.

The lock keeps others waiting. What keeps a signer harmless that has lost it, and does not know yet, is the token, which
every turn to write compares.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg

from wharfinger_daemon.errors import StartupError, WharfingerError
from wharfinger_daemon.storage.lock_file import another_signs

Connect = Callable[[], psycopg.Connection[Any]]

_BEAT_SECONDS = 1.0
_SILENT_SECONDS = 5
# An advisory lock has two numbers; they are a name, and mean nothing.
_TAKE = "SELECT pg_try_advisory_lock(30568, 24946)"


class SignersPlace:
    """Holds the place from its making until ``leave``.

    Args:
        connect: opens a connection that commits each statement by itself.
        lost: called at most once, on another thread, when another has taken the place.

    Attributes:
        token: higher than that of everybody who had the place before.

    Raises:
        StartupError: PUBLISHER_RUNNING; another has the place.
        psycopg.Error: the server does not answer.
    """

    def __init__(self, connect: Connect, lost: Callable[[], None]) -> None:
        self._connect = connect
        self._lost = lost
        self._leaving = threading.Event()
        self._connection = self._take()
        try:
            raised = self._connection.execute("UPDATE writing_turns SET token = token + 1 RETURNING token").fetchone()
        except psycopg.Error:
            self._connection.close()
            raise
        assert raised is not None  # Its migration has put a row there.
        self.token: int = raised[0]
        self._thread = threading.Thread(target=self._show_life, name="signers-place", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Makes room for another."""
        self._leaving.set()
        self._thread.join(_SILENT_SECONDS)  # Longer only if the server hangs, which ends nothing any more.
        self._connection.close()

    def _take(self) -> psycopg.Connection[Any]:
        connection = self._connect()
        try:
            connection.execute(
                f"SET idle_session_timeout = {_SILENT_SECONDS * 1000}; SET statement_timeout = {_SILENT_SECONDS * 1000}"
            )
            if connection.execute(_TAKE).fetchone() != (True,):
                raise another_signs()
        except BaseException:
            connection.close()
            raise
        return connection

    def _show_life(self) -> None:
        while not self._leaving.wait(_BEAT_SECONDS):
            try:
                if self._connection.closed:
                    self._connection = self._take()
                if self._connection.execute("SELECT token FROM writing_turns").fetchone() == (self.token,):
                    continue
            except StartupError:
                pass  # Another has the lock.
            except (psycopg.Error, WharfingerError):
                self._connection.close()
                continue  # The server, or the file of the password, may be there again at the next beat.
            self._lost()
            return
