"""An online signer with its keys in memory, and an authority that asks nothing: for tests, and for trying things out.
Never for a real repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from securesystemslib.signer import CryptoSigner

from wharfinger_daemon.errors import Reason, RefusedError, UnavailableError
from wharfinger_daemon.metadata.documents import DocumentSignature, UnsignedDocument
from wharfinger_daemon.metadata.intake import Intake, StoreWithStaged
from wharfinger_daemon.metadata.planning import ClaimedVersions, OfflineRoles, OnlineKeys
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.metadata.published import read_offline_roles


class MemorySigner:
    """Implements ``OnlineSigner``, with a ledger in memory: a version is signed for one content only.

    Attributes:
        signers: by keyid; tests may take one away.
        active: the keyid that signs new metadata.
        signed: the canonical bytes that each version of each role has, and the signature that was made first.
        made: every signature, by role, version and keyid.
        available: set to False, signing raises UnavailableError.
        batches: how many documents each call had, oldest first.
    """

    def __init__(self, signer: CryptoSigner) -> None:
        self.signers: dict[str, CryptoSigner] = {}
        self.signed: dict[tuple[str, int], tuple[bytes, DocumentSignature]] = {}
        self.made: dict[tuple[str, int, str], DocumentSignature] = {}
        self.available = True
        self.batches: list[int] = []
        self.activate(signer)

    def activate(self, signer: CryptoSigner) -> None:
        """Has another key sign from now on; those before it sign where they are named."""
        self.active = signer.public_key.keyid
        self.signers[self.active] = signer

    async def sign(self, documents: Sequence[UnsignedDocument]) -> list[DocumentSignature]:
        if not self.available:
            raise UnavailableError("The signer is switched off.", reason=Reason.TOKEN_UNAVAILABLE)
        self.batches.append(len(documents))
        return [self._sign(document) for document in documents]

    async def keys(self, a_bin: str) -> OnlineKeys:
        return OnlineKeys(self.active, self.active, self.active)

    async def claimed(self) -> Mapping[str, ClaimedVersions]:
        highest: dict[str, int] = {}
        for role, version in self.signed:
            highest[role] = max(version, highest.get(role, 0))
        return {role: ClaimedVersions(signed=version) for role, version in highest.items()}

    def _sign(self, document: UnsignedDocument) -> DocumentSignature:
        state = document.state
        version = state.role, state.version
        keyid = state.keyid or self.active
        signer = self.signers.get(keyid)
        if signer is None:
            raise RefusedError(f"There is no key {keyid}.", reason=Reason.KEY_NOT_HELD)
        if version in self.signed and self.signed[version][0] != document.signed:
            raise RefusedError(
                f"Version {state.version} of '{state.role}' was signed for other bytes.",
                reason=Reason.VERSION_EQUIVOCATION,
            )
        if (*version, keyid) not in self.made:
            made = signer.sign(document.signed)
            signature = self.made[*version, keyid] = DocumentSignature(keyid, bytes.fromhex(made.signature))
            self.signed.setdefault(version, (document.signed, signature))
        return self.made[*version, keyid]


class CredulousAuthority:
    """Implements ``OfflineAuthority``: verifies nothing, and has no key to activate."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store

    async def authorise(self, intake: Intake) -> OfflineRoles:
        return await read_offline_roles(StoreWithStaged(self._store, intake.files))
