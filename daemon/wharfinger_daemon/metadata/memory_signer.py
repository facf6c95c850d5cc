"""An online signer with its key in memory: for tests, and for trying things out. Never for a real repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from securesystemslib.signer import CryptoSigner

from wharfinger_daemon.errors import Reason, RefusedError, UnavailableError
from wharfinger_daemon.metadata.documents import DocumentSignature, UnsignedDocument
from wharfinger_daemon.metadata.planning import ClaimedVersions


class MemorySigner:
    """Implements ``OnlineSigner``, with a ledger in memory: a version is signed for one content only.

    Attributes:
        signed: the canonical bytes and the signature that each version of each role has.
        available: set to False, signing raises UnavailableError.
        batches: how many documents each call had, oldest first.
    """

    def __init__(self, signer: CryptoSigner) -> None:
        self._signer = signer
        self.signed: dict[tuple[str, int], tuple[bytes, DocumentSignature]] = {}
        self.available = True
        self.batches: list[int] = []

    async def sign(self, documents: Sequence[UnsignedDocument]) -> list[DocumentSignature]:
        if not self.available:
            raise UnavailableError("The signer is switched off.", reason=Reason.TOKEN_UNAVAILABLE)
        self.batches.append(len(documents))
        return [self._sign(document) for document in documents]

    async def claimed(self) -> Mapping[str, ClaimedVersions]:
        highest: dict[str, int] = {}
        for role, version in self.signed:
            highest[role] = max(version, highest.get(role, 0))
        return {role: ClaimedVersions(signed=version) for role, version in highest.items()}

    def _sign(self, document: UnsignedDocument) -> DocumentSignature:
        state = document.state
        recorded = self.signed.get((state.role, state.version))
        if recorded is None:
            made = self._signer.sign(document.signed)
            recorded = document.signed, DocumentSignature(made.keyid, bytes.fromhex(made.signature))
            self.signed[state.role, state.version] = recorded
        content, signature = recorded
        if content != document.signed:
            raise RefusedError(
                f"Version {state.version} of '{state.role}' was signed for other bytes.",
                reason=Reason.VERSION_EQUIVOCATION,
            )
        return signature
