"""The switch that stops all signing for a repository, for every caller and for the publisher in this process alike.

A suspension holds from the moment that it is asked for: nothing enters the ledger after its leaf of the log until the
leaf that ends it. What the token has in hand by then is finished. It is kept with the ledger, and so outlives restarts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import InvalidRequestError, Reason, RefusedError
from wharfinger_daemon.signing.standing import Moment, Standing

T = TypeVar("T")

_LONGEST_REASON = 500


@dataclass(frozen=True)
class Suspension:
    """Nothing is signed for a repository.

    Attributes:
        repository: its name in the configuration.
        reason: why, in the words of whoever suspended it; callers that are refused read it.
        caller: who suspended it: a caller's name, or ``local`` for a command on the host.
        since: in UTC.
    """

    repository: str
    reason: str
    caller: str
    since: datetime


class SuspensionRecords(Protocol):
    """Suspensions as they are kept, by the identity of the repository: the SHA-256 of its trusted root 1.

    Each change is written with its leaf of the audit log, durably: both or neither.

    Raises:
        UnavailableError: from every method, when the record cannot be read or written.
    """

    async def add(self, identity: str, suspension: Suspension) -> None:
        """Writes a suspension; the newest one of a repository stands."""
        ...

    async def remove(self, identity: str, repository: str, *, caller: str, at: datetime) -> None:
        """Removes the suspension of a repository. Where there is none, nothing is written."""
        ...

    async def all(self, names: Mapping[str, str]) -> list[Suspension]:
        """The suspensions of some repositories, which are called so now, by identity."""
        ...


class Suspensions:
    """Suspends and resumes. One for a process; call ``load`` before anything is signed."""

    def __init__(self, records: SuspensionRecords, standing: Standing, clock: Clock) -> None:
        self._records = records
        self._standing = standing
        self._clock = clock
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        """Lets what was suspended before this process started hold in it, too.

        Raises:
            UnavailableError: the records cannot be read.
        """
        for suspension in await self.all():
            self._standing.suspend(suspension.repository, _sentence(suspension.reason))

    async def suspend(self, repository: str, reason: str, *, caller: str) -> Suspension:
        """Refuses every signature for a repository from now on. Repeats safely: the newest reason stands.

        Raises:
            NotFoundError: UNKNOWN_REPOSITORY.
            InvalidRequestError: there is no reason, or it is too long to show.
            UnavailableError: it could not be written. It is as before.
        """
        identity = self._identity(repository)
        suspension = Suspension(repository, require_reason(reason), caller, self._clock.now())
        await _finished(self._suspend(identity, suspension))
        return suspension

    async def resume(self, repository: str, *, caller: str) -> None:
        """Lets the repository be signed for again. Repeats safely: what is not suspended stays so.

        Raises:
            NotFoundError: UNKNOWN_REPOSITORY.
            UnavailableError: it could not be written. It is as before.
        """
        await _finished(self._resume(self._identity(repository), repository, caller))

    async def all(self) -> list[Suspension]:
        """The suspensions of the repositories that are configured, by name.

        Raises:
            UnavailableError: the records cannot be read.
        """
        names = {one.epoch.repository: name for name, one in self._standing.now.repositories.items()}
        return sorted(await self._records.all(names), key=lambda one: one.repository)

    async def _suspend(self, identity: str, suspension: Suspension) -> None:
        async with self._turn:
            before = self._standing.now.suspended.get(suspension.repository)
            # First it holds, then it is written: so nothing is let through behind its leaf in the log.
            self._standing.suspend(suspension.repository, _sentence(suspension.reason))
            try:
                await self._records.add(identity, suspension)
            except BaseException:
                if before is None:
                    self._standing.resume(suspension.repository)
                else:
                    self._standing.suspend(suspension.repository, before)
                raise

    async def _resume(self, identity: str, repository: str, caller: str) -> None:
        async with self._turn:
            await self._records.remove(identity, repository, caller=caller, at=self._clock.now())
            for name, one in self._standing.now.repositories.items():
                if one.epoch.repository == identity:  # Whatever it was called when it was suspended.
                    self._standing.resume(name)

    def _identity(self, repository: str) -> str:
        return self._standing.now.repository(repository).epoch.repository


def require_not_suspended(moment: Moment, identities: Iterable[str]) -> None:
    """Refuses to sign for repositories, named by their identities, if one of them is suspended.

    Raises:
        RefusedError: SIGNING_SUSPENDED.
    """
    if not moment.suspended:
        return
    asked = set(identities)
    for name, why in moment.suspended.items():
        if moment.repository(name).epoch.repository in asked:
            raise RefusedError(
                f"Signing for repository '{name}' is suspended: {why} Whoever suspended it must resume it.",
                reason=Reason.SIGNING_SUSPENDED,
                repository=name,
            )


def require_reason(reason: str) -> str:
    """The reason as it is kept, without space around it.

    Raises:
        InvalidRequestError: MALFORMED_REQUEST; there is none, or it cannot be shown on one line.
    """
    stripped = reason.strip()
    if not stripped or len(stripped) > _LONGEST_REASON or not stripped.isprintable():
        raise InvalidRequestError(
            f"A suspension needs a reason: one line of at most {_LONGEST_REASON} printable characters, for the log and "
            "for whoever is refused.",
            reason=Reason.MALFORMED_REQUEST,
        )
    return stripped


async def _finished(work: Coroutine[Any, Any, T]) -> T:
    # What waits for the record may already be written when the caller's time runs out: record and standing must not
    # part, so it goes on without the caller.
    return await asyncio.shield(asyncio.ensure_future(work))


def _sentence(reason: str) -> str:
    return reason if reason[-1] in ".!?" else f"{reason}."
