"""One repository, and what can be done with it, a step at a time: finish, publish, renew.

Whoever calls these methods calls them one after another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import Reason, RefusedError, StartupError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.completion import Completion
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.observer import PublicationObserver, SilentObserver
from wharfinger_daemon.metadata.planning import (
    SNAPSHOT,
    TIMESTAMP,
    Change,
    Lifetimes,
    OfflineRoles,
    Publication,
    PublicationOrder,
    due_roles,
)
from wharfinger_daemon.metadata.ports import MetadataStore, OnlineSigner, PublicationRecords
from wharfinger_daemon.metadata.published import published_versions

log = structlog.get_logger()

_NOTHING = Change()
TAKEN_VERSIONS = (Reason.VERSION_EQUIVOCATION, Reason.VERSION_ROLLBACK, Reason.META_ROLLBACK)


@dataclass(frozen=True)
class Repository:
    """One repository.

    Attributes:
        offline: from ``published.read_offline_roles``.
        lifetimes: how long new metadata holds.
    """

    offline: OfflineRoles
    records: PublicationRecords
    store: MetadataStore
    signer: OnlineSigner
    clock: Clock
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    observer: PublicationObserver = field(default_factory=SilentObserver)

    async def require_agreement(self) -> None:
        """Refuses records and a store that do not belong together.

        Raises:
            StartupError: RECORDS_BEHIND or REPOSITORY_INVALID, with what to do.
        """
        newest = await self.records.newest()
        shown = (await published_versions(self.store)).get(TIMESTAMP, 0)
        _require_same_history(newest, await self.records.last_shown(), shown)
        _require_same_bins(self.offline.bins, await self.records.states())

    async def finish(self) -> None:
        """Finishes the prepared publication, if there is one.

        Raises:
            WharfingerError: as from ``Completion.complete``.
        """
        newest = await self.records.newest()
        if newest is not None and not newest.published:
            await self._complete(newest)

    async def publish(self, change: Change, renew: Collection[str] = ()) -> Publication:
        """Publishes a change, and new versions of some roles with it.

        Returns:
            The publication that shows the change: a new one, or the last one if nothing had to change; then it has no
            bins.

        Raises:
            WharfingerError: records, store or signer fail. If the change was prepared, ``finish`` publishes it.
        """
        order = PublicationOrder(change, frozenset(renew), self.offline, self.lifetimes, self.clock.now())
        publication = await self.records.prepare(order)
        if publication is not None:
            return await self._complete(publication)
        states = await self.records.states()
        return Publication(states[TIMESTAMP].version, states[SNAPSHOT].version, {}, published=True)

    async def renew(self, most: int) -> bool:
        """Renews roles that have less than half of their lifetime left, those that expire soonest first.

        Returns:
            Whether anything was renewed; then there may be more.
        """
        now = self.clock.now()
        expiring = await self.records.expiring(now + self.lifetimes.longest / 2, most)
        due = due_roles(expiring, self.lifetimes, self.offline.bins, now)
        if due:
            await self.publish(_NOTHING, due)
        return bool(due)

    async def observe(self) -> None:
        """Tells the observer when metadata expires."""
        self._observe(await self.records.states())

    async def _complete(self, publication: Publication) -> Publication:
        """Completes a prepared publication; returns it with the versions that it was published with."""
        completion = Completion(self.records, self.store, self.signer)
        try:
            states = await completion.complete(publication, self.clock.now())
        except RefusedError as error:
            if error.reason not in TAKEN_VERSIONS:
                raise
            # Another caller of the signer had some of these versions signed: there must not be two, so ours give way.
            # Versions are plenty. If it happens again, the publisher tries again, as after every failure.
            log.warning("evading versions that others had signed", reason=error.reason, details=error.details)
            order = PublicationOrder(_NOTHING, frozenset(), self.offline, self.lifetimes, self.clock.now())
            publication = await self.records.evade(await self.signer.claimed(), order)
            states = await completion.complete(publication, self.clock.now())
        self.observer.published(publication)
        self._observe(states)
        return publication

    def _observe(self, states: Mapping[str, RoleState]) -> None:
        earliest: dict[str, datetime] = {role: states[role].expires for role in (TIMESTAMP, SNAPSHOT)}
        earliest["bins"] = min(states[role].expires for role in self.offline.bins.roles())
        self.observer.expires(earliest)


def _require_same_history(newest: Publication | None, last_shown: int, shown: int) -> None:
    """The store shows the newest publication, or, if that was interrupted, the one before it."""
    recorded = 0 if newest is None else newest.timestamp_version
    interrupted = newest is not None and not newest.published
    if shown == recorded or (interrupted and shown == last_shown):
        return
    if shown > recorded:
        raise StartupError(
            f"The metadata store shows version {shown} of 'timestamp', and the database ends at {recorded}: it is "
            "an old copy, or belongs to another repository. Restore the newest; do not delete the published metadata.",
            reason=Reason.RECORDS_BEHIND,
        )
    raise StartupError(
        f"The database says that version {recorded} of 'timestamp' was published, and the metadata store shows "
        f"{f'version {shown}' if shown else 'none'}. Bring the newest metadata back, or configure the store that "
        "belongs to this database.",
        reason=Reason.REPOSITORY_INVALID,
    )


def _require_same_bins(bins: HashBins, states: Mapping[str, RoleState]) -> None:
    present = {role for role in states if role.startswith(f"{bins.prefix}-")}
    if present and present != set(bins.roles()):
        raise StartupError(
            f"The offline metadata delegates to {bins.number} bins, and the database has {len(present)}. The number "
            "of bins cannot be changed. Bring the offline metadata back that this database belongs to.",
            reason=Reason.REPOSITORY_INVALID,
        )
