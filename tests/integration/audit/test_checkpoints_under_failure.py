"""Ends, failures and alarms of the task that signs checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from wharfinger_daemon.audit.checkpoint import SignedCheckpoint
from wharfinger_daemon.audit.checkpointer import require_consistent
from wharfinger_daemon.errors import Reason, UnavailableError


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0.01)


class Forwarding:
    """The log, with a place to interfere."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.attempts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def checkpoint(self, size: int | None) -> SignedCheckpoint | None:
        self.attempts += 1
        found: SignedCheckpoint | None = await self._log.checkpoint(size)
        return found


async def test_end_while_a_checkpoint_is_being_stored_loses_neither_it_nor_its_copy(signed_log: Any) -> None:
    """A cancelled caller does not stop a transaction: what was stored then is this daemon's own, and no attack."""
    begun = asyncio.Event()

    class Uninterrupted(Forwarding):
        async def add_checkpoint(self, signed: SignedCheckpoint, at: datetime) -> None:
            storing = asyncio.ensure_future(self._log.add_checkpoint(signed, at))
            begun.set()
            await asyncio.shield(storing)

    checkpointer = signed_log.checkpointer(0.01, log=Uninterrupted(signed_log.log))
    checkpointer.start(None)
    async with asyncio.timeout(30):
        await begun.wait()
    await checkpointer.close()
    newest = await signed_log.log.checkpoint(None)
    assert newest is not None
    assert newest.note == signed_log.kept.read()
    assert newest.checkpoint == await require_consistent(signed_log.log, [signed_log.key], signed_log.kept)


async def test_checkpoint_that_was_stored_although_the_database_said_no_is_taken_for_stored(signed_log: Any) -> None:
    """A commit whose outcome nobody was told is no change from outside."""

    class Doubtful(Forwarding):
        failing = True

        async def add_checkpoint(self, signed: SignedCheckpoint, at: datetime) -> None:
            await self._log.add_checkpoint(signed, at)
            if self.failing:
                raise UnavailableError("The database does not answer.", reason=Reason.DATABASE_UNAVAILABLE)

    log = Doubtful(signed_log.log)
    checkpointer = signed_log.checkpointer(log=log)
    with pytest.raises(UnavailableError):
        await checkpointer.sign_news()
    log.failing = False
    assert not await checkpointer.sign_news()
    assert (await signed_log.log.checkpoint(None)).note == signed_log.kept.read()
    signed_log.grow()
    assert await checkpointer.sign_news()
    assert [1, 2] == signed_log.observer.sizes


async def test_checkpoint_that_was_not_stored_is_signed_again(signed_log: Any) -> None:
    class Failing(Forwarding):
        failing = True

        async def add_checkpoint(self, signed: SignedCheckpoint, at: datetime) -> None:
            if self.failing:
                raise UnavailableError("The database does not answer.", reason=Reason.DATABASE_UNAVAILABLE)
            await self._log.add_checkpoint(signed, at)

    log = Failing(signed_log.log)
    checkpointer = signed_log.checkpointer(log=log)
    with pytest.raises(UnavailableError):
        await checkpointer.sign_news()
    assert (None, []) == (signed_log.kept.read(), signed_log.observer.sizes)
    log.failing = False
    signed_log.grow()
    assert await checkpointer.sign_news()
    assert [2] == signed_log.observer.sizes


async def test_alarm_about_a_changed_log_is_not_silenced_by_what_fails_later(signed_log: Any) -> None:
    """Whoever changes the log must not be able to hide it by making the database unavailable next."""
    log = Forwarding(signed_log.log)
    checkpointer = signed_log.checkpointer(0.01, log=log)
    checkpointer.start(None)
    await until(lambda: signed_log.observer.sizes)
    signed_log.edit("DELETE FROM audit_checkpoints")
    await until(lambda: checkpointer.problem)
    alarm = checkpointer.problem
    assert alarm is not None
    assert "lost what was signed" in alarm
    away = signed_log.path.with_name("away.db")
    signed_log.path.rename(away)
    before = log.attempts
    await until(lambda: log.attempts >= before + 3)
    assert alarm == checkpointer.problem
    away.rename(signed_log.path)
    await checkpointer.close()
    assert [1] == signed_log.observer.sizes
