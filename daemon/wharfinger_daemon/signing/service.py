"""The path that every signature takes.

    batch size → examination (see examination.py) → rates → ledger and log, durably → token, once, verified → record →
    reply

A batch is one decision: the first item that is refused refuses all of it, and then nothing of it is in the ledger. What
can still fail after the ledger is the token; the same bytes may then be sent again, and so may they when the process
died on the way. A suspension that comes meanwhile stops a batch before the ledger, and before the token.

``lint`` takes the same path up to the ledger's decision, uses up no rate, and reports on every item.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from wharfinger_daemon.audit.leaf import LeafReference
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import InvalidRequestError, Reason, WharfingerError
from wharfinger_daemon.signing import holdings
from wharfinger_daemon.signing.deadline import time_remaining
from wharfinger_daemon.signing.examination import ExaminedItem, Examiner
from wharfinger_daemon.signing.keys import TokenKeys
from wharfinger_daemon.signing.ledger import Ledger, Recorded, Requester
from wharfinger_daemon.signing.linting import asked_role, lint_one, lint_rate, linted_by_ledger
from wharfinger_daemon.signing.model import (
    Caller,
    ClaimedVersions,
    LintResult,
    PreparedItem,
    RepositoryKey,
    RoleType,
    Signature,
    SigningItem,
    SigningPolicy,
)
from wharfinger_daemon.signing.observer import SigningObserver, SilentObserver
from wharfinger_daemon.signing.rates import Rates
from wharfinger_daemon.signing.refusals import refusal_of
from wharfinger_daemon.signing.standing import Moment, Standing
from wharfinger_daemon.signing.suspension import require_not_suspended

PUBLISHER = "publisher"

T = TypeVar("T")
R = TypeVar("R")

_SHORT_BYTES = 16 * 1024

_random = random.SystemRandom()


class SigningService:
    """Signs what may be signed, as things stand at the moment of each request."""

    def __init__(
        self,
        standing: Standing,
        ledger: Ledger,
        keys: TokenKeys,
        policy: SigningPolicy,
        clock: Clock,
        observer: SigningObserver | None = None,
    ) -> None:
        self._standing = standing
        self._ledger = ledger
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._observer = observer or SilentObserver()
        self._rates = Rates(clock)
        self._asked = False

    async def sign(
        self, items: Sequence[SigningItem], *, caller: Caller, request_id: str, timeout_seconds: float
    ) -> list[Signature]:
        """Signs a batch for a caller; repeats safely, for the same bytes return the same signatures.

        Raises:
            InvalidRequestError, NotFoundError, RefusedError, NotGrantedError: an item is refused, and so nothing was
                signed and nothing written; ``details["item"]`` is its index.
            UnavailableError: token or ledger do not answer. The same batch may be sent again.
            DeadlineError: the time was over before the ledger was written.
        """
        remaining = time_remaining(timeout_seconds, self._policy.min_seconds)
        with self._refusals_observed(items, caller.name):
            self._require_batch(items)
            examiner = await self._examiner()
            examined = await _away(items, lambda: _each(items, lambda item: examiner.examine(item, caller)))
            self._rates.take(caller, map(asked_role, items, examined))
            return await self._sign(examined, Requester(caller.name, request_id), remaining, synced=False)

    async def sign_prepared(
        self, items: Sequence[PreparedItem], *, request_id: str, timeout_seconds: float
    ) -> list[Signature]:
        """The same for the publisher in this process, whose facts are believed, so that bins need not be parsed again.

        Snapshots, timestamps and one bin of the batch, chosen at random, are read in full nevertheless. The batch may
        be of any size. The signatures are on the disk before they are returned, because what holds them will be: the
        same bytes must have the same signatures after a failure of power, too.

        Raises:
            CorruptStateError: bytes that were read do not say what their facts say.
            WharfingerError: as from ``sign``.
        """
        remaining = time_remaining(timeout_seconds, self._policy.min_seconds)
        with self._refusals_observed(items, PUBLISHER):
            examiner = await self._examiner()
            examined = await asyncio.to_thread(_examine_prepared, examiner, items)
            return await self._sign(examined, Requester(PUBLISHER, request_id), remaining, synced=True)

    async def lint(self, items: Sequence[SigningItem], *, caller: Caller) -> list[LintResult]:
        """What ``sign`` would say of each item. Changes nothing and asks the token for nothing but its keys.

        Raises:
            InvalidRequestError: the batch is empty or too large.
            UnavailableError: the ledger does not answer.
        """
        self._require_batch(items)
        examiner = await self._examiner()
        examined = await _away(items, lambda: [lint_one(examiner, item, caller) for item in items])
        asking = self._rates.asking(caller)
        linted = [lint_rate(asking, item, one) for item, one in zip(items, examined, strict=True)]
        passed = [one for one in linted if isinstance(one, ExaminedItem)]
        answers = iter(
            await self._ledger.preview(
                [one.reservation for one in passed], max_version_jump=self._policy.max_version_jump
            )
        )
        return [linted_by_ledger(one, next(answers)) if isinstance(one, ExaminedItem) else one for one in linted]

    async def signing_keys(self, repository: str) -> list[RepositoryKey]:
        """The keys that the verified metadata authorises and the token holds, by keyid.

        Raises:
            NotFoundError: there is no such repository.
        """
        moment = await self._moment()
        return holdings.held_keys(moment.repository(repository), moment.held)

    async def key_for(self, repository: str, role: str) -> str:
        """The keyid of the key that signs a role where none is named; raises as ``Examiner.key_for`` does."""
        return (await self._examiner()).key_for(repository, role).keyid

    async def verify_keys_held(self) -> None:
        """For the start: every online role of every repository can be signed with the token.

        Raises:
            StartupError: KEY_MISMATCH.
            UnavailableError: the token does not answer.
        """
        moment = await self._moment()
        for repository in moment.repositories.values():
            holdings.require_keys_held(repository, moment.held)

    async def verify_ledger(self, repository: str, published: Mapping[str, int]) -> None:
        """For the start: the ledger knows every version that was published, so that none can be used again.

        Args:
            published: version by role, as the published metadata has them; empty before the first publication.

        Raises:
            StartupError: LEDGER_MISSING, LEDGER_BEHIND or REPOSITORY_INVALID.
        """
        trusted = self._standing.now.repository(repository)
        holdings.require_ledger(trusted, await self._ledger.floors(trusted.epoch), published)

    async def claimed_versions(self, repository: str) -> Mapping[str, ClaimedVersions]:
        """Which versions of a repository's roles are taken, for a publisher that must choose others.

        Raises:
            NotFoundError: there is no such repository.
        """
        trusted = self._standing.now.repository(repository)
        return holdings.claimed_versions(await self._ledger.floors(trusted.epoch))

    async def refresh_held_keys(self) -> frozenset[bytes]:
        """Asks the token which keys it holds now: one that was generated meanwhile can be used from then on.

        Returns:
            All of them, as DER SubjectPublicKeyInfo.

        Raises:
            UnavailableError: the token does not answer. What it held before still counts.
        """
        held = await self._keys.public_keys()
        self._standing.hold(held)
        self._asked = True
        return held

    async def _sign(
        self, examined: Sequence[ExaminedItem], requester: Requester, remaining: Callable[[], float], *, synced: bool
    ) -> list[Signature]:
        remaining()
        identities = {one.reservation.epoch.repository for one in examined}
        require_not_suspended(self._standing.now, identities)
        recorded = await self._ledger.reserve(
            [one.reservation for one in examined],
            requester,
            max_version_jump=self._policy.max_version_jump,
            at=self._clock.now(),
        )
        # A batch may hold the same item twice: it is signed once.
        fresh = {known.leaf: one for one, known in zip(examined, recorded, strict=True) if known.signature is None}
        made: dict[LeafReference, bytes] = {}
        if fresh:
            require_not_suspended(self._standing.now, identities)
            requests = [one.key.request(one.signed, one.reservation.digest) for one in fresh.values()]
            signatures = await self._keys.sign(requests, timeout_seconds=remaining())
            kept = await self._ledger.record(list(zip(fresh, signatures, strict=True)), synced=synced)
            made = dict(zip(fresh, kept, strict=True))
        self._observe(examined, recorded)
        return [
            Signature(
                keyid=one.key.keyid,
                signature=made[known.leaf] if known.signature is None else known.signature,
                role=one.reservation.role,
                version=one.reservation.version,
                replayed=known.signature is not None,
                leaf=known.leaf,
            )
            for one, known in zip(examined, recorded, strict=True)
        ]

    async def _examiner(self) -> Examiner:
        return Examiner(await self._moment(), self._policy, self._clock)

    async def _moment(self) -> Moment:
        if not self._asked:
            await self.refresh_held_keys()
        return self._standing.now

    def _require_batch(self, items: Sequence[SigningItem]) -> None:
        if not items:
            raise InvalidRequestError("The batch has no items. Send at least one.", reason=Reason.EMPTY_BATCH)
        if len(items) > self._policy.max_batch:
            raise InvalidRequestError(
                f"The batch has {len(items)} items, and signing.max_batch allows {self._policy.max_batch}. Send it in "
                "parts.",
                reason=Reason.BATCH_TOO_LARGE,
            )

    def _observe(self, examined: Sequence[ExaminedItem], recorded: Sequence[Recorded]) -> None:
        pairs = zip(examined, recorded, strict=True)
        kinds = Counter((one.role_type, known.signature is not None) for one, known in pairs)
        for (role_type, replayed), count in kinds.items():
            self._observer.signed(role_type, count, replayed=replayed)

    @contextmanager
    def _refusals_observed(self, items: Sequence[SigningItem | PreparedItem], caller: str) -> Iterator[None]:
        try:
            yield
        except WharfingerError as error:
            self._observer.refused(refusal_of(error, items, caller, self._standing.now))
            raise


async def _away(items: Sequence[SigningItem], work: Callable[[], R]) -> R:
    """Does long work on a thread; for short work that would cost more than the work itself."""
    if sum(len(item.signed) for item in items) < _SHORT_BYTES:
        return work()
    return await asyncio.to_thread(work)


def _each(items: Sequence[T], examine: Callable[[T], R]) -> list[R]:
    """Examines one item after another; the error of the first that fails says which it is."""
    examined = []
    for index, item in enumerate(items):
        try:
            examined.append(examine(item))
        except WharfingerError as error:
            error.details["item"] = str(index)
            raise
    return examined


def _examine_prepared(examiner: Examiner, items: Sequence[PreparedItem]) -> list[ExaminedItem]:
    examined = _each(items, examiner.examine_prepared)
    bins = [index for index, one in enumerate(examined) if one.role_type is RoleType.BINS]
    in_full = set(range(len(items))).difference(bins)
    if bins:
        # Chosen at random, so that no error of the publisher stays unseen for long, and none can be timed.
        in_full.add(_random.choice(bins))
    _each(range(len(items)), lambda index: examiner.verify_prepared(items[index]) if index in in_full else None)
    return examined
