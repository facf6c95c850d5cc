"""One repository, and what can be done with it, a step at a time: finish, publish, renew, take in offline metadata.

Whoever calls these methods calls them one after another.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import structlog

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import Reason, RefusedError
from wharfinger_daemon.metadata.agreement import lacks_bins, require_same_bins, require_same_history
from wharfinger_daemon.metadata.completion import BeforeShowing, Completion, nothing
from wharfinger_daemon.metadata.documents import RoleState, bin_document, carries
from wharfinger_daemon.metadata.expiries import ROOT, earliest_expiries, newest_root
from wharfinger_daemon.metadata.observer import PublicationObserver, SilentObserver
from wharfinger_daemon.metadata.planning import (
    SNAPSHOT,
    TIMESTAMP,
    Change,
    ClaimedVersions,
    Lifetimes,
    OfflineRoles,
    Publication,
    PublicationOrder,
    leads_elsewhere,
)
from wharfinger_daemon.metadata.ports import MetadataStore, OnlineSigner, PublicationRecords
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.metadata.renewal import due_roles, late_roles
from wharfinger_daemon.metadata.working_copy import WorkingCopy

log = structlog.get_logger()

_random = random.SystemRandom()

_NOTHING = Change()
TAKEN_VERSIONS = (Reason.VERSION_EQUIVOCATION, Reason.VERSION_ROLLBACK, Reason.META_ROLLBACK)
# Reasons to refuse what was prepared before keys or offline metadata changed.
_SUPERSEDED = (
    Reason.KEY_NOT_AUTHORISED,
    Reason.KEY_UNKNOWN,
    Reason.KEY_NOT_ACTIVE,
    Reason.KEY_NOT_HELD,
    Reason.META_NOT_VERIFIED,
)


@dataclass(frozen=True)
class Repository:
    """One repository.

    Attributes:
        offline: from ``published.read_offline_roles``.
        lifetimes: how long new metadata holds.
        copy: what was published last, as this process remembers it.
    """

    offline: OfflineRoles
    records: PublicationRecords
    store: MetadataStore
    signer: OnlineSigner
    clock: Clock
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    observer: PublicationObserver = field(default_factory=SilentObserver)
    copy: WorkingCopy = field(default_factory=WorkingCopy)

    async def require_agreement(self) -> None:
        """Refuses records and a store that do not belong together.

        Raises:
            StartupError: RECORDS_BEHIND or REPOSITORY_INVALID, with what to do.
        """
        newest = await self.records.newest()
        shown = (await published_versions(self.store)).get(TIMESTAMP, 0)
        require_same_history(newest, await self.records.last_shown(), shown)
        growing = await self.store.staged() is not None
        require_same_bins(self.offline.bins, await self.records.states(), growing=growing)

    async def finish(self, before_showing: BeforeShowing = nothing) -> None:
        """Finishes the prepared publication, if there is one.

        Raises:
            WharfingerError: as from ``Completion.complete``.
        """
        newest = await self.records.newest()
        if newest is not None and not newest.published:
            await self._complete(newest, before_showing)

    async def publish(self, change: Change, renew: Collection[str] = ()) -> Publication:
        """Publishes a change, and new versions of some roles with it.

        Returns:
            The publication that shows the change: a new one, or the last one if nothing had to change; then it has no
            bins.

        Raises:
            WharfingerError: records, store or signer fail. If the change was prepared, ``finish`` publishes it.
        """
        publication = await self.records.prepare(await self._order(change, renew))
        if publication is not None:
            return await self._complete(publication, nothing, change.by_bin(self.offline.bins))
        states = await self.records.states((TIMESTAMP, SNAPSHOT))
        return Publication(states[TIMESTAMP].version, states[SNAPSHOT].version, {}, published=True)

    async def due(self, most: int) -> list[str]:
        """The roles to sign anew now: those that ``renewal.due_roles`` names, in its order, and then those that another
        key signed than the one that signs now.

        Args:
            most: how many to name.
        """
        states = (await self.records.states()).values()
        # Of 16,384 bins this takes as long as some hundred requests.
        due = await asyncio.to_thread(due_roles, states, self.lifetimes, self.offline.bins, self.clock.now())
        self.observer.renewals_due(len(due))
        if len(due) < most:
            others = await self.records.signed_by_others((await self._order(_NOTHING)).keys, most)
            due = list(dict.fromkeys([*due, *(state.role for state in others)]))
        return due[:most]

    async def renew_late(self, most: int) -> bool:
        """Renews roles that have less than half of their lifetime left, as ``renewal.late_roles`` names them.

        Returns:
            Whether anything was renewed; then there may be more.
        """
        states = (await self.records.states()).values()
        late = await asyncio.to_thread(late_roles, states, self.lifetimes, self.offline.bins, self.clock.now())
        if late:
            await self.publish(_NOTHING, late[:most])
        return bool(late)

    async def show_new_metadata(self, *, everything: bool, before_showing: BeforeShowing) -> Publication:
        """Publishes a snapshot that names the offline roles as they are now, and a timestamp, even if they had no news:
        every new root and targets has new ones (PEP 458). If there are more bins than before, all are published anew in
        the same step.

        What was prepared before becomes part of it; what was prepared for it is finished. So it repeats safely.

        Args:
            everything: sign all roles anew that another key signed than the one that signs now, all in one step.
            before_showing: as for ``Completion.complete``.

        Raises:
            WharfingerError: records, store or signer fail.
        """
        renew = {SNAPSHOT, TIMESTAMP, *await self._grow()}
        order = await self._order(_NOTHING, renew)
        others = await self.records.signed_by_others(order.keys, self.offline.bins.number + 2) if everything else []
        order = replace(order, renew=order.renew.union(state.role for state in others))
        prepared = await self.records.newest()
        if prepared is None or prepared.published:
            publication = await self.records.prepare(order)
            assert publication is not None  # A timestamp is always renewed.
        elif others or leads_elsewhere(prepared, await self.records.states(), order):
            publication = await self._leave(prepared, order)
        else:
            publication = prepared
        return await self._complete(publication, before_showing)

    async def _grow(self) -> frozenset[str]:
        """Spreads the targets over bins that have become more; returns the bins that change by that, all of them.

        The growing is over with the publication that is prepared next. It was accepted with nothing prepared.
        """
        bins = self.offline.bins
        if not lacks_bins(bins, await self.records.states()):
            return frozenset()
        log.info("spreading the targets over more bins", bins=bins.number)
        await self.records.assign(bins)
        self.copy.forget()
        return frozenset(bins.roles())

    async def mend(self, sample: int) -> None:
        """Publishes bins anew whose published file is missing or empty, or, of some chosen at random, does not say what
        the records say: the records are the truth.

        Not every file is read: of 20 million targets they are 4.5 GB. Whoever reads a bin verifies it, so a damaged one
        deceives nobody.

        Args:
            sample: how many files to read.
        """
        states = await self.records.states()
        bins = {role: states[role].version for role in self.offline.bins.roles()}
        broken = {role for role, _ in await self.store.absent(list(bins.items()))}
        whole = sorted(bins.keys() - broken)
        chosen = _random.sample(whole, min(sample, len(whole)))
        listed = await self.records.targets_of(chosen)
        for role in chosen:
            content = await self.store.read(role, states[role].version)
            if content is None or not carries(content, bin_document(states[role], listed[role])):
                broken.add(role)
        if broken:
            log.error("published files are missing or damaged, and are published anew", roles=sorted(broken)[:16])
            self.copy.forget_files(broken)
            await self.publish(_NOTHING, broken)

    async def observe(self) -> None:
        """Tells the observer when metadata expires, root included."""
        self._observe(await self.records.states())
        root = await newest_root(self.store)
        if root is not None:
            self.observer.expires({ROOT: root.expires})

    async def _order(self, change: Change, renew: Collection[str] = ()) -> PublicationOrder:
        keys = await self.signer.keys(next(self.offline.bins.roles()))
        return PublicationOrder(change, frozenset(renew), self.offline, self.lifetimes, self.clock.now(), keys)

    async def _complete(
        self,
        publication: Publication,
        before_showing: BeforeShowing,
        changes: Mapping[str, Change] | None = None,
    ) -> Publication:
        """Completes a prepared publication; returns it with the versions that it was published with."""
        completion = Completion(self.records, self.store, self.signer, self.copy, self.observer)
        try:
            states = await completion.complete(publication, self.clock.now(), before_showing, changes)
        except RefusedError as error:
            publication = await self._other_way(publication, error)
            states = await completion.complete(publication, self.clock.now(), before_showing)
        self.observer.published(publication)
        self._observe(states)
        return publication

    async def _other_way(self, publication: Publication, error: RefusedError) -> Publication:
        """The same publication with other versions, if that gets round a refusal."""
        order = await self._order(_NOTHING)
        if error.reason in TAKEN_VERSIONS:
            # Another caller of the signer had some of these versions signed: there must not be two, so ours give way.
            # Versions are plenty. If it happens again, the publisher tries again, as after every failure.
            log.warning("evading versions that others had signed", reason=error.reason, details=error.details)
            return await self.records.evade(await self.signer.claimed(), order)
        if error.reason in _SUPERSEDED and leads_elsewhere(publication, await self.records.states(), order):
            log.warning("leaving versions whose key or offline roles were replaced", reason=error.reason)
            return await self._leave(publication, order)
        raise error

    async def _leave(self, publication: Publication, order: PublicationOrder) -> Publication:
        """Leaves all versions of a prepared publication behind: files of any may be in the store, with signatures by
        keys that may not sign any more."""
        states = await self.records.states()
        claimed = dict(await self.signer.claimed())
        for role in (*publication.bins, SNAPSHOT, TIMESTAMP):
            known = claimed.get(role, ClaimedVersions())
            claimed[role] = replace(known, signed=max(known.signed, states[role].version))
        return await self.records.evade(claimed, order)

    def _observe(self, states: Mapping[str, RoleState]) -> None:
        self.observer.expires(earliest_expiries(states.values(), self.offline.bins))
