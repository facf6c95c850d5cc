"""From a prepared publication to what clients see.

Steps: (1) build the touched bins from the records, sign them in batches, add them to the store; (2) the same for the
snapshot; (3) the timestamp is signed, and replaces its predecessor, which makes all of it visible at once; (4) mark the
publication published.

Each step depends on the records alone, and repeats safely: the same rows give the same bytes, the signer gives the same
signature for the same bytes, and the store accepts the same file again. So whoever is killed anywhere starts again at
(1). A bin that was never shown is never read, and a snapshot is durable before the timestamp names it (PEP 458,
"Producing consistent snapshots"; TUF specification 1.0.34, section 6.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.metadata.documents import (
    DocumentSignature,
    RoleState,
    UnsignedDocument,
    bin_document,
    file_bytes,
    snapshot_document,
    timestamp_document,
)
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP, Publication
from wharfinger_daemon.metadata.ports import MetadataStore, OnlineSigner, PublicationRecords, VersionedFile
from wharfinger_daemon.metadata.published import corrupt, parse_timestamp
from wharfinger_daemon.metadata.targets import Target

# What is held in memory at once: 128 bins of 20 million targets in 16,384 are 35 MB.
BINS_AT_ONCE = 128


BeforeShowing = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Is done where nothing is to be done before showing."""


@dataclass(frozen=True)
class Completion:
    """Completes prepared publications."""

    records: PublicationRecords
    store: MetadataStore
    signer: OnlineSigner

    async def complete(
        self, publication: Publication, at: datetime, before_showing: BeforeShowing = nothing
    ) -> Mapping[str, RoleState]:
        """Brings a prepared publication before clients.

        Args:
            before_showing: what must be done immediately before the timestamp is replaced, when everything is signed
                already. Repeats with the rest.

        Returns:
            The states of all roles as clients see them now.

        Raises:
            CorruptStateError: a version that this would bring exists already with another content.
            WharfingerError: records, store or signer fail. The same call may be made again.
        """
        states = await self.records.states()
        _require_agreement(publication, states)
        for roles in _batches(sorted(publication.bins)):
            listed = await self.records.targets_of(roles)
            documents = await asyncio.to_thread(_bin_documents, [states[role] for role in roles], listed)
            await self._sign_and_add(documents)
        named = {role: state.version for role, state in states.items() if role not in (SNAPSHOT, TIMESTAMP)}
        [snapshot] = await self._sign_and_add([snapshot_document(states[SNAPSHOT], named)])
        await self._show(timestamp_document(states[TIMESTAMP], snapshot.version, snapshot.content), before_showing)
        await self.records.mark_published(publication, at)
        return states

    async def _sign_and_add(self, documents: Sequence[UnsignedDocument]) -> list[VersionedFile]:
        signatures = await self.signer.sign(documents)
        files = await asyncio.to_thread(_files, documents, signatures)
        await self.store.add(files)
        return files

    async def _show(self, document: UnsignedDocument, before_showing: BeforeShowing) -> None:
        [signature] = await self.signer.sign([document])
        content = file_bytes(document, [signature])
        await self._require_newer(document.state.version, content)
        await before_showing()
        await self.store.replace_timestamp(content)

    async def _require_newer(self, version: int, content: bytes) -> None:
        # TUF specification 5.4.3: clients refuse a lower timestamp, and they would notice two of the same version.
        present = await self.store.read(TIMESTAMP, 0)
        if present is None or present == content:
            return
        shown = parse_timestamp(present).version
        if shown >= version:
            raise corrupt("timestamp.json", f"it is version {shown}, and version {version} was to be published next")


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


def _bin_documents(states: Sequence[RoleState], listed: Mapping[str, Sequence[Target]]) -> list[UnsignedDocument]:
    return [bin_document(state, listed[state.role]) for state in states]


def _files(documents: Sequence[UnsignedDocument], signatures: Sequence[DocumentSignature]) -> list[VersionedFile]:
    return [
        VersionedFile(document.state.role, document.state.version, file_bytes(document, [signature]))
        for document, signature in zip(documents, signatures, strict=True)
    ]


def _batches(roles: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(roles), BINS_AT_ONCE):
        yield roles[start : start + BINS_AT_ONCE]
