"""What administrators do with keys, and what they are told of them.

Each act decides on the rows as they are in the transaction that changes them, by what the verified metadata and the
token say at that moment; then signing is told. Acts follow one another. One that has begun is finished even if whoever
asked for it has gone, because signing must learn of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Protocol

import structlog

from wharfinger_daemon.audit.leaf import Act
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import InvalidRequestError, Reason, UnavailableError
from wharfinger_daemon.keys import life_cycle, succession
from wharfinger_daemon.keys.life_cycle import Keys, LineKey
from wharfinger_daemon.keys.lines import KeyLines
from wharfinger_daemon.keys.records import Changes, KeyRecords, leaf_of
from wharfinger_daemon.keys.reporting import KeyReport, report_keys
from wharfinger_daemon.keys.succession import Situation
from wharfinger_daemon.signing.standing import Standing
from wharfinger_daemon.signing.trust import TrustedRepository

log = structlog.get_logger()

Decide = Callable[[Situation, Keys], Changes]


class HeldKeys(Protocol):
    """The keys in the token."""

    async def held(self) -> Mapping[bytes, str]:
        """Asks the token, and tells signing what it holds now.

        Returns:
            The label of each key, by DER SubjectPublicKeyInfo.

        Raises:
            UnavailableError: TOKEN_UNAVAILABLE; the token does not answer.
        """
        ...


class KeyAdministration:
    """The lives of all keys of this daemon.

    Args:
        held: None where there is no token, and so nothing can be activated.
        reserved: the canary's and the log's key, DER SubjectPublicKeyInfo, which may be in no role.
    """

    def __init__(
        self,
        standing: Standing,
        lines: KeyLines,
        records: KeyRecords,
        held: HeldKeys | None,
        clock: Clock,
        reserved: frozenset[bytes] = frozenset(),
    ) -> None:
        self._standing = standing
        self._lines = lines
        self._records = records
        self._held = held
        self._clock = clock
        self._reserved = reserved
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """For the start: refuses lines that do not fit the metadata, adopts keys, and tells signing their states.

        Raises:
            StartupError: CONFIGURATION_INVALID.
            UnavailableError: the token or the records do not answer.
        """
        for repository in self._standing.now.repositories.values():
            self._lines.require_fit(repository, self._reserved)
            await self.adopt(repository.name)

    async def adopt(self, repository: str) -> None:
        """Looks at the keys of a repository after its metadata was trusted anew: see ``succession.adopt``.

        Raises:
            NotFoundError: there is no such repository.
            UnavailableError: the token or the records do not answer; then signing goes by the states it had.
        """
        await self._finished(self._change(repository, succession.adopt))

    async def succeed(self, repository: str, *, caller: str) -> None:
        """Takes revoked keys out of use, and activates their only possible successors: see ``succession.succeed``.

        Raises:
            NotFoundError: there is no such repository.
            UnavailableError: the token or the records do not answer; then nothing was changed.
        """

        def decide(situation: Situation, keys: Keys) -> Changes:
            adopted = succession.adopt(situation, keys)
            present = {**keys, **{key.keyid: key for key in adopted.keys}}
            return adopted + succession.succeed(situation, present, caller)

        await self._finished(self._change(repository, decide))

    def problems(self, trusted: TrustedRepository) -> list[str]:
        """What in metadata that is to be trusted would stop the next start: see ``KeyLines.problems``."""
        return self._lines.problems(trusted, self._reserved)

    async def list_keys(self, repository: str | None = None) -> list[KeyReport]:
        """All keys, the newest first, of one repository or of all.

        Raises:
            NotFoundError: there is no such repository.
            UnavailableError: the records do not answer.
        """
        repositories = self._standing.now.repositories
        names = list(repositories) if repository is None else [self._standing.now.repository(repository).name]
        with suppress(UnavailableError):  # Then it is told as it was when the token last answered.
            await self._ask_token()
        reports = [report for name in names for report in await self._reports(name)]
        return sorted(reports, key=lambda report: (report.key.generated_at, report.key.keyid), reverse=True)

    async def get(self, keyid: str) -> KeyReport:
        """One key.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            UnavailableError: the records do not answer.
        """
        name = await self._repository_of(keyid)
        return next(report for report in await self.list_keys(name) if report.key.keyid == keyid)

    async def publish(self, keyid: str, *, caller: str) -> KeyReport:
        """Marks a key as published: see ``life_cycle.publish``.

        Raises:
            NotFoundError, RefusedError: nothing was changed.
            UnavailableError: the token or the records do not answer.
        """

        def decide(situation: Situation, keys: Keys) -> Changes:
            key = life_cycle.find(keys, keyid)
            published = life_cycle.publish(key, situation.evidence(key), situation.at)
            return _moved(Act.KEY_PUBLISHED, situation, caller, key, published)

        return await self._act(keyid, decide)

    async def activate(self, keyid: str, *, caller: str) -> KeyReport:
        """Makes a key the one that signs for its line: see ``life_cycle.activate``.

        Raises:
            NotFoundError, RefusedError: nothing was changed.
            UnavailableError: the token or the records do not answer.
        """

        def decide(situation: Situation, keys: Keys) -> Changes:
            key = life_cycle.find(keys, keyid)
            forerunners = situation.forerunners(keys.values(), key.line)
            changed = life_cycle.activate(key, forerunners, situation.evidence(key), situation.at)
            if not changed:
                return Changes()
            active, *former = changed
            retiring = " ".join(one.keyid for one in former)
            leaf = leaf_of(Act.KEY_ACTIVATED, active, situation.trusted, caller, situation.at, retiring=retiring)
            return Changes(changed, (leaf,))

        return await self._act(keyid, decide)

    async def retire(self, keyid: str, *, caller: str) -> KeyReport:
        """Takes a key out of use: see ``life_cycle.retire``. The token is not needed.

        Raises:
            NotFoundError, RefusedError: nothing was changed.
            UnavailableError: the records do not answer.
        """

        def decide(situation: Situation, keys: Keys) -> Changes:
            key = life_cycle.find(keys, keyid)
            retired = life_cycle.retire(key, situation.evidence(key), situation.at)
            return _moved(Act.KEY_RETIRED, situation, caller, key, retired)

        return await self._act(keyid, decide, asks_token=False)

    async def _act(self, keyid: str, decide: Decide, *, asks_token: bool = True) -> KeyReport:
        name = await self._repository_of(keyid)
        await self._finished(self._change(name, decide, asks_token=asks_token))
        return next(report for report in await self._reports(name) if report.key.keyid == keyid)

    async def _change(self, repository: str, decide: Decide, *, asks_token: bool = True) -> None:
        async with self._turn:
            held = await self._ask_token() if asks_token else {}
            trusted = self._standing.now.repository(repository)
            situation = Situation(trusted, tuple(self._lines.of(repository)), held, self._clock.now())
            changes = Changes()

            def decided(keys: Keys) -> Changes:
                nonlocal changes
                changes = decide(situation, keys)
                return changes

            keys = await self._records.change(trusted.epoch.repository, decided)
            self._standing.set_key_states(repository, {keyid: key.signs_as for keyid, key in keys.items()})
            _write_log(situation, changes, keys)

    async def _finished(self, change: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(change)
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # An error was raised to whoever asked, unless they have gone; it counts as seen.
        _ = task.cancelled() or task.exception()

    async def _ask_token(self) -> Mapping[bytes, str]:
        if self._held is None:
            raise UnavailableError(
                "There is no token here to ask. Run the command on the signing host.", reason=Reason.TOKEN_UNAVAILABLE
            )
        return await self._held.held()

    async def _repository_of(self, keyid: str) -> str:
        """The name of the repository whose key it is."""
        found = [
            name
            for name, trusted in self._standing.now.repositories.items()
            if keyid in await self._records.all(trusted.epoch.repository)
        ]
        if len(found) > 1:
            raise InvalidRequestError(
                f"Key {keyid} belongs to several repositories: {', '.join(found)}. What it signs for one would be "
                "valid for the other, too. Generate keys of their own for them.",
                reason=Reason.KEY_STATE_INVALID,
                keyid=keyid,
            )
        if not found:
            raise life_cycle.unknown_key()
        return found[0]

    async def _reports(self, repository: str) -> list[KeyReport]:
        moment = self._standing.now
        return await report_keys(
            moment.repository(repository), self._records, None if self._held is None else moment.held
        )


def _moved(act: Act, situation: Situation, caller: str, before: LineKey, after: LineKey) -> Changes:
    if after == before:
        return Changes()
    return Changes((after,), (leaf_of(act, after, situation.trusted, caller, situation.at),))


def _write_log(situation: Situation, changes: Changes, keys: Keys) -> None:
    for leaf in changes.leaves:
        log.info(leaf.act.value, caller=leaf.caller, **leaf.details)
    for line in situation.lines:
        active = situation.forerunners(keys.values(), line.name)
        if not active:
            log.warning(
                "a line has no active key: nothing is signed for it", repository=line.repository, line=line.name
            )
        for key in active:
            missing = situation.evidence(key).missing
            if missing:
                log.warning("an active key is not listed", keyid=key.keyid, line=key.line, roles=", ".join(missing))
