"""Lets the publisher sign through the signing service in this process, with its ledger and its token."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from wharfinger_daemon.metadata.documents import SPEC_VERSION, DocumentSignature, UnsignedDocument
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP, ClaimedVersions, OnlineKeys
from wharfinger_daemon.signing.model import MetadataFacts, PreparedItem
from wharfinger_daemon.signing.service import SigningService


class PublicationSigner:
    """``metadata.ports.OnlineSigner`` on the signing service.

    Args:
        repository: its name in the configuration.
        timeout_seconds: for each batch.
    """

    def __init__(self, service: SigningService, repository: str, *, timeout_seconds: float = 60) -> None:
        self._service = service
        self._repository = repository
        self._timeout_seconds = timeout_seconds

    async def sign(self, documents: Sequence[UnsignedDocument]) -> list[DocumentSignature]:
        signatures = await self._service.sign_prepared(
            [
                PreparedItem(self._repository, _facts(document), document.signed, document.digest, document.state.keyid)
                for document in documents
            ],
            request_id=f"publication-{uuid.uuid4().hex}",
            timeout_seconds=self._timeout_seconds,
        )
        return [DocumentSignature(signature.keyid, signature.signature) for signature in signatures]

    async def keys(self, a_bin: str) -> OnlineKeys:
        bins, snapshot, timestamp = [
            await self._service.key_for(self._repository, role) for role in (a_bin, SNAPSHOT, TIMESTAMP)
        ]
        return OnlineKeys(bins, snapshot, timestamp)

    async def claimed(self) -> Mapping[str, ClaimedVersions]:
        claimed = await self._service.claimed_versions(self._repository)
        return {role: ClaimedVersions(taken.signed, taken.named) for role, taken in claimed.items()}


def _facts(document: UnsignedDocument) -> MetadataFacts:
    state = document.state
    return MetadataFacts(
        role=state.role,
        type=document.type,
        version=state.version,
        expires=state.expires,
        meta=document.meta,
        spec_version=SPEC_VERSION,
    )
