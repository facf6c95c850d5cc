"""From a prepared publication to what clients see.

Steps: (1) build the touched bins, sign them in batches, add them to the store; (2) the same for the snapshot; (3) the
timestamp is signed, and replaces its predecessor, which makes all of it visible at once; (4) mark the publication
published.

Each step repeats safely: the same rows give the same bytes, the signer gives the same signature for the same bytes,
and the store accepts the same file again. So whoever is killed anywhere starts again at (1).

A bin that was never shown is never read, and a snapshot is durable before the timestamp names it (PEP 458, "Producing
consistent snapshots"; TUF specification 1.0.34, section 6.2).

A bin is built from its last file where this publisher wrote that and knows what changed since, and else from the rows.
Both give the same bytes. Of each batch one bin, chosen at random, is built in both ways, and the rows are believed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.metadata.documents import (
    DocumentSignature,
    RoleState,
    UnsignedDocument,
    file_bytes,
    listing_document,
    naming_document,
    timestamp_document,
)
from wharfinger_daemon.metadata.listing import changed, listing_of
from wharfinger_daemon.metadata.observer import PublicationObserver
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP, Change, Publication
from wharfinger_daemon.metadata.ports import MetadataStore, OnlineSigner, PublicationRecords, VersionedFile
from wharfinger_daemon.metadata.published import INTERMEDIATE_BINS, TARGETS, corrupt, parse_timestamp
from wharfinger_daemon.metadata.working_copy import WorkingCopy

log = structlog.get_logger()

_random = random.SystemRandom()

# What is held in memory at once: 128 bins of 20 million targets in 16,384 are 35 MB.
BINS_AT_ONCE = 128


BeforeShowing = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Is done where nothing is to be done before showing."""


@dataclass(frozen=True)
class Completion:
    """Completes prepared publications.

    Attributes:
        copy: what was published last. It is empty after a failure.
    """

    records: PublicationRecords
    store: MetadataStore
    signer: OnlineSigner
    copy: WorkingCopy
    observer: PublicationObserver

    async def complete(
        self,
        publication: Publication,
        at: datetime,
        before_showing: BeforeShowing = nothing,
        changes: Mapping[str, Change] | None = None,
    ) -> Mapping[str, RoleState]:
        """Brings a prepared publication before clients.

        Args:
            before_showing: what must be done immediately before the timestamp is replaced, when everything is signed
                already. Repeats with the rest.
            changes: by bin, how rows changed since the publication before this one; None if that is not known.

        Returns:
            The states of all roles as clients see them now.

        Raises:
            CorruptStateError: a version that this would bring exists already with another content.
            WharfingerError: records, store or signer fail. The same call may be made again.
        """
        try:
            states = await self._states(publication)
            _require_agreement(publication, states)
            await self._complete_bins(sorted(publication.bins), states, changes)
            [snapshot] = await self._sign_and_add([naming_document(states[SNAPSHOT], self.copy.named)])
            await self._show(timestamp_document(states[TIMESTAMP], snapshot.version, snapshot.content), before_showing)
            await self.records.mark_published(publication, at)
        except BaseException:
            self.copy.forget()
            raise
        return states

    async def _complete_bins(
        self, bins: Sequence[str], states: Mapping[str, RoleState], changes: Mapping[str, Change] | None
    ) -> None:
        done = 0
        for roles in _batches(bins):
            listings = await self._listings(roles, changes)
            documents = [listing_document(states[role], listings[role]) for role in roles]
            await self._sign_and_add(documents)
            self.copy.keep(documents)
            done += len(roles)
            self.observer.signed_bins(done, len(bins))

    async def _states(self, publication: Publication) -> Mapping[str, RoleState]:
        # What is known is what the publication before this one left.
        known = bool(self.copy.states)
        concerned = {*publication.bins, SNAPSHOT, TIMESTAMP, TARGETS, INTERMEDIATE_BINS}
        self.copy.learn(await self.records.states(concerned if known else None))
        return self.copy.states

    async def _listings(self, roles: Sequence[str], changes: Mapping[str, Change] | None) -> Mapping[str, bytes]:
        known = {} if changes is None else {role: changes.get(role, Change()) for role in roles}
        spliced = await self._spliced(known)
        checked = [_random.choice(sorted(spliced))] if spliced else []
        from_rows = await self._from_rows([*(role for role in roles if role not in spliced), *checked])
        wrong = [role for role in checked if from_rows[role] != spliced[role]]
        if wrong:
            log.error("a bin was spliced wrongly; all are built from the rows", role=wrong[0])
            self.observer.spliced_wrongly()
            return await self._from_rows(roles)
        return {**spliced, **from_rows}

    async def _spliced(self, changes: Mapping[str, Change]) -> dict[str, bytes]:
        """The listings of bins that can be made of their last file."""
        bases = {role: state for role in changes if (state := self.copy.file_of(role)) is not None}
        contents = await self.store.read_all([(role, state.version) for role, state in bases.items()])
        return await asyncio.to_thread(_splice, self.copy, dict(zip(bases, contents, strict=True)), changes)

    async def _from_rows(self, roles: Sequence[str]) -> dict[str, bytes]:
        listed = await self.records.targets_of(roles)
        return await asyncio.to_thread(lambda: {role: listing_of(targets) for role, targets in listed.items()})

    async def _sign_and_add(self, documents: Sequence[UnsignedDocument]) -> list[VersionedFile]:
        signatures = await self.signer.sign(documents)
        files = await asyncio.to_thread(_files, documents, signatures)
        await self.store.add(files)
        return files

    async def _show(self, document: UnsignedDocument, before_showing: BeforeShowing) -> None:
        [signature] = await self.signer.sign([document])
        content = file_bytes(document, [signature])
        present = await self._newer_than(document.state.version, content)
        await before_showing()
        await self.store.replace_timestamp(content, replacing=present)

    async def _newer_than(self, version: int, content: bytes) -> bytes | None:
        """The timestamp that is shown, which is older, or the same already."""
        # TUF specification 5.4.3: clients refuse a lower timestamp, and they would notice two of the same version.
        present = await self.store.read(TIMESTAMP, 0)
        if present is None or present == content:
            return present
        shown = parse_timestamp(present).version
        if shown >= version:
            raise corrupt("timestamp.json", f"it is version {shown}, and version {version} was to be published next")
        return present


def _require_agreement(publication: Publication, states: Mapping[str, RoleState]) -> None:
    wanted = {**publication.bins, SNAPSHOT: publication.snapshot_version, TIMESTAMP: publication.timestamp_version}
    for role, version in wanted.items():
        state = states.get(role)
        if state is None or state.version != version:
            raise CorruptStateError(
                f"The prepared publication has version {version} of '{role}', and the records of roles have "
                f"{'none' if state is None else state.version}. Restore the database from a good copy.",
                reason=Reason.PUBLICATION_FAILED,
                role=role,
            )


def _splice(copy: WorkingCopy, contents: Mapping[str, bytes | None], changes: Mapping[str, Change]) -> dict[str, bytes]:
    spliced = {}
    for role, content in contents.items():
        listing = copy.listing_in(role, content)
        if listing is not None:
            spliced[role] = changed(listing, changes[role].add, changes[role].remove)
    return spliced


def _files(documents: Sequence[UnsignedDocument], signatures: Sequence[DocumentSignature]) -> list[VersionedFile]:
    return [
        VersionedFile(document.state.role, document.state.version, file_bytes(document, [signature]))
        for document, signature in zip(documents, signatures, strict=True)
    ]


def _batches(roles: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(roles), BINS_AT_ONCE):
        yield roles[start : start + BINS_AT_ONCE]
