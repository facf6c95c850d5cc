"""Signs what the log has come to: every second while there is news, and once more at an orderly end.

A checkpoint is kept in the database and, as a copy, in a file outside of it: whoever cuts the log's end off and fits
the rest together leaves a copy behind that does not fit, and the next start is refused.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import structlog

from wharfinger_daemon.audit.checkpoint import (
    Checkpoint,
    CheckpointError,
    LogKey,
    SignedCheckpoint,
    verify_with_any,
)
from wharfinger_daemon.audit.ports import CheckpointSigner, Log, LogObserver
from wharfinger_daemon.audit.proofs import ProofError, verify_consistency
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import CorruptStateError, Reason, StartupError, WharfingerError

log = structlog.get_logger()

KEPT_CHECKPOINT = "audit-checkpoint"
"""The file's name in the state directory."""

_OVERDUE_SECONDS = 30.0
_LONGEST_RETRY_SECONDS = 5.0


class KeptCheckpoint:
    """The copy outside the database. It is replaced in one step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """The note; None if there is none.

        Raises:
            StartupError: LOG_INVALID; it cannot be read.
        """
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StartupError(
                f"The copy of the newest checkpoint cannot be read: {self.path}: {error.strerror}.",
                reason=Reason.LOG_INVALID,
            ) from error

    def write(self, note: bytes) -> None:
        """Replaces the note, durably.

        Raises:
            OSError: it cannot be written. What is there is this note or the one before, and whole.
        """
        unfinished = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # Or a failure of power could bring the one before back.
        finally:
            os.close(directory)


async def require_consistent(audit_log: Log, keys: Sequence[LogKey], kept: KeptCheckpoint) -> Checkpoint | None:
    """For the start: refuses a log that is not what was signed.

    Args:
        keys: the log's, and those that it had before.

    Returns:
        The largest checkpoint that was signed; None before the first.

    Raises:
        StartupError: LOG_INVALID, with what to do.
    """
    source = "the newest checkpoint in the database"
    try:
        newest = await audit_log.checkpoint(None)
        in_database = await _require_root(audit_log, keys, None if newest is None else newest.note)
        source = f"the checkpoint kept in {kept.path}"
        outside = await _require_root(audit_log, keys, kept.read())
        if outside is not None and (in_database is None or in_database.size < outside.size):
            raise CheckpointError(f"It is of {outside.size} leaves, and the database has no checkpoint of as many.")
    except (CheckpointError, CorruptStateError) as error:
        raise StartupError(
            f"The audit log is not what was signed: {source}: {error} Nothing will be signed. Run 'wharfinger audit "
            "verify', find out who changed the database, and restore its newest copy. If only the log's key is new, "
            "name the old one in audit.previous_vkeys.",
            reason=Reason.LOG_INVALID,
        ) from error
    return in_database


async def _require_root(audit_log: Log, keys: Sequence[LogKey], note: bytes | None) -> Checkpoint | None:
    if note is None:
        return None
    stated, size = verify_with_any(keys, note), await audit_log.size()
    if stated.size > size:
        raise CheckpointError(f"It vouches for {stated.size} leaves, and the log has {size}.")
    if await audit_log.root(stated.size) != stated.root:
        raise CheckpointError(f"Its root is not that of the first {stated.size} leaves.")
    return stated


class Checkpointer:
    """One task. Call ``start`` first and ``close`` last.

    It remembers what it signed last: a database from which that was taken, or in which it was changed, is found out
    while the daemon runs, and nothing more is signed of it. A checkpoint whose storing was cancelled or failed may be
    stored all the same, since nobody interrupts a transaction: the next look tells, and it counts as signed if it is.

    Args:
        seconds: how often to look for news.
    """

    def __init__(
        self,
        audit_log: Log,
        key: LogKey,
        signer: CheckpointSigner,
        kept: KeptCheckpoint,
        clock: Clock,
        seconds: float,
        observer: LogObserver,
    ) -> None:
        self._log = audit_log
        self._key = key
        self._signer = signer
        self._kept = kept
        self._clock = clock
        self._seconds = seconds
        self._observer = observer
        self._last: Checkpoint | None = None
        self._storing: tuple[SignedCheckpoint, datetime] | None = None
        self._outside: bytes | None = None
        self._broken = False
        self._task: asyncio.Task[None] | None = None
        self._failing_since: float | None = None
        self._failure = ""

    @property
    def problem(self) -> str | None:
        """Why checkpoints are overdue; None while they are not.

        A log that was changed is a problem at once, and stays one until the daemon is started again.
        """
        since = self._failing_since
        if self._broken:
            return self._failure
        if since is None or asyncio.get_running_loop().time() - since < _OVERDUE_SECONDS:
            return None
        return f"The audit log has had no checkpoint for {_OVERDUE_SECONDS:g} seconds: {self._failure}"

    def start(self, last: Checkpoint | None) -> None:
        """Begins to look for news.

        Args:
            last: what was signed last, from ``require_consistent``.
        """
        self._last = last
        self._task = asyncio.create_task(self._run(), name="checkpointer")

    async def close(self) -> None:
        """Ends the task, and signs what the log has come to if the token still answers."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        try:
            await self.sign_news()
        except (WharfingerError, CheckpointError, OSError) as error:
            self._failed(error)

    async def sign_news(self) -> bool:
        """Signs a checkpoint if the log has grown since the last one; says whether it had.

        Raises:
            CorruptStateError: LOG_INVALID; the log no longer extends what was signed last. Nothing was signed.
            UnavailableError, OverloadedError: token or database do not answer now.
            OSError: the copy cannot be written. The checkpoint itself is kept.
        """
        newest, size = await self._log.checkpoint(None), await self._log.size()
        self._learn_what_was_stored(newest)
        self._require_remembered(newest, size)
        covered = 0 if self._last is None else self._last.size
        self._observer.looked(size, covered)
        grown = size > covered
        if grown:
            newest = await self._sign(size)
        if newest is not None and newest.note != self._outside:
            await asyncio.to_thread(self._kept.write, newest.note)
            self._outside = newest.note
        return grown

    async def _sign(self, size: int) -> SignedCheckpoint:
        checkpoint = Checkpoint(self._key.origin, size, await self._log.root(size))
        if self._last is not None:
            await self._require_extended(self._last, checkpoint)
        signed = self._key.note(checkpoint, await self._signer.sign(*self._key.to_sign(checkpoint)))
        now = self._clock.now()
        self._storing = signed, now
        await self._log.add_checkpoint(signed, now)
        self._learn_what_was_stored(signed)
        return signed

    def _learn_what_was_stored(self, newest: SignedCheckpoint | None) -> None:
        storing, self._storing = self._storing, None
        if storing is None or newest != storing[0]:
            return
        self._last = storing[0].checkpoint
        self._observer.checkpointed(self._last.size, storing[1])

    def _require_remembered(self, newest: SignedCheckpoint | None, size: int) -> None:
        if self._last is None and newest is None:
            return
        present = None if newest is None else newest.checkpoint
        if present != self._last or (self._last is not None and size < self._last.size):
            raise CorruptStateError(
                "The audit log has lost what was signed of it last, or somebody else signs it. It was changed from "
                "outside. Stop the daemon and run 'wharfinger audit verify'.",
                reason=Reason.LOG_INVALID,
            )

    async def _require_extended(self, last: Checkpoint, checkpoint: Checkpoint) -> None:
        try:
            proof = await self._log.consistency(last.size, checkpoint.size)
            verify_consistency(last.size, checkpoint.size, proof, last.root, checkpoint.root)
        except (ProofError, ValueError) as error:
            raise CorruptStateError(
                f"The audit log does not extend what was signed last: {error}. It was changed from outside. Stop the "
                "daemon and run 'wharfinger audit verify'.",
                reason=Reason.LOG_INVALID,
            ) from error

    async def _run(self) -> None:
        pause = self._seconds
        while True:
            await asyncio.sleep(pause)
            try:
                await self.sign_news()
            except Exception as error:  # noqa: BLE001  # The task must outlive what nobody foresaw, and try again.
                self._failed(error)
                pause = min(2 * pause, max(self._seconds, _LONGEST_RETRY_SECONDS))
            else:
                pause, self._failing_since = self._seconds, None

    def _failed(self, error: Exception) -> None:
        if self._failing_since is None:
            self._failing_since = asyncio.get_running_loop().time()
        if not self._broken:  # What fails afterwards must not hide that the log was changed.
            self._failure, self._broken = str(error), isinstance(error, CorruptStateError)
        foreseen = isinstance(error, WharfingerError | OSError)
        log.warning("no checkpoint was signed", error=str(error), exc_info=None if foreseen else error)
