"""The ceremony of a development repository: offline keys, and the metadata that they sign.

A real ceremony has people, machines without a network, and keys that never meet (PEP 458, "Metadata Signing Ceremony").
Here everything happens in one process and the keys are left in a folder, in the clear, so that one can play with them.

    root       2 of 3 keys   lists the keys of the top-level roles; a year
    targets    2 of 2 keys   delegates every path to ``bins``; a year
    bins       2 of 2 keys   delegates to the hash bins, which the online key signs; a year

Each key and each file is whole or absent, and what is there is used: a ceremony that was interrupted can be run again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Role, Root, Targets

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.ceremony_keys import keep_keys
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP
from wharfinger_daemon.metadata.ports import MetadataStore, VersionedFile
from wharfinger_daemon.metadata.published import INTERMEDIATE_BINS, TARGETS
from wharfinger_daemon.metadata.reading import ROOT

OFFLINE_LIFETIME = timedelta(days=365)

_NUMBER_OF_KEYS = {ROOT: 3, TARGETS: 2, INTERMEDIATE_BINS: 2}
_THRESHOLD = 2
_EVERY_PREFIX = [f"{digit:x}" for digit in range(16)]


@dataclass(frozen=True)
class _Ceremony:
    """The keys of a repository, and what they are to sign."""

    offline: Mapping[str, Sequence[CryptoSigner]]
    online: Key
    bins: HashBins
    expires: datetime

    def root(self) -> Root:
        root = Root(expires=self.expires, consistent_snapshot=True)
        for role in (ROOT, TARGETS):
            root.roles[role] = Role([], _THRESHOLD)
            for signer in self.offline[role]:
                root.add_key(signer.public_key, role)
        for role in (SNAPSHOT, TIMESTAMP):
            root.add_key(self.online, role)
        return root

    def targets(self) -> Targets:
        keys: dict[str, Key] = {one.public_key.keyid: one.public_key for one in self.offline[INTERMEDIATE_BINS]}
        # PEP 458 has this role between targets and the bins, so that targets can delegate elsewhere too (PEP 480).
        everything = DelegatedRole(
            INTERMEDIATE_BINS, list(keys), _THRESHOLD, terminating=False, path_hash_prefixes=_EVERY_PREFIX
        )
        return Targets(expires=self.expires, delegations=Delegations(keys, {INTERMEDIATE_BINS: everything}))

    def intermediate_bins(self) -> Targets:
        delegation = self.bins.delegation([self.online.keyid], 1)
        return Targets(expires=self.expires, delegations=delegation.delegations({self.online.keyid: self.online}))


async def create_development_repository(
    *, ceremony_directory: Path, online_public_key: bytes, bins: HashBins, clock: Clock, store: MetadataStore
) -> str:
    """Makes offline keys and metadata, or finishes making them.

    Args:
        ceremony_directory: for the private keys, as PEM files with mode 0600; made with mode 0700 if it is missing.
        online_public_key: of snapshot, timestamp and the bins, as DER SubjectPublicKeyInfo.
        store: gets ``1.root.json``, ``1.targets.json`` and ``1.bins.json``.

    Returns:
        The hexadecimal SHA-256 of ``1.root.json``, which everything else is to pin.

    Raises:
        StartupError: REPOSITORY_INVALID; what is there already belongs to another ceremony or is damaged.
            PUBLISHER_RUNNING; a publisher works on the store.
        UnavailableError: the store does not answer.
    """
    online = _online_key(online_public_key)
    offline = {
        role: await asyncio.to_thread(keep_keys, ceremony_directory, role, number)
        for role, number in _NUMBER_OF_KEYS.items()
    }
    ceremony = _Ceremony(offline, online, bins, (clock.now() + OFFLINE_LIFETIME).replace(microsecond=0))
    await store.lock()
    try:
        # Root comes last: where it is, the ceremony is over.
        await _keep(store, INTERMEDIATE_BINS, ceremony.intermediate_bins(), offline[INTERMEDIATE_BINS])
        await _keep(store, TARGETS, ceremony.targets(), offline[TARGETS])
        root = await _keep(store, ROOT, ceremony.root(), offline[ROOT])
    finally:
        await store.unlock()
    return hashlib.sha256(root).hexdigest()


def _online_key(public_key: bytes) -> Key:
    try:
        return SSlibKey.from_crypto(load_der_public_key(public_key))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StartupError(
            f"The online key cannot sign TUF metadata: {error}. Generate one of a supported algorithm.",
            reason=Reason.REPOSITORY_INVALID,
        ) from error


async def _keep(store: MetadataStore, role: str, content: Root | Targets, signers: Sequence[CryptoSigner]) -> bytes:
    """Version 1 of a role: what is there, if it fits, or else signed now."""
    present = await store.read(role, 1)
    if present is not None:
        _require_same(role, present, content, [signer.public_key for signer in signers])
        return present
    metadata: Metadata[Any] = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    made: bytes = metadata.to_bytes()
    await store.add([VersionedFile(role, 1, made)])
    return made


def _require_same(role: str, present: bytes, content: Root | Targets, keys: Sequence[Key]) -> None:
    """Refuses a file that other keys signed, or that says something else, but for its expiry."""
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(present)
        content.expires = metadata.signed.expires
        if metadata.signed != content:
            raise ValueError("it names other keys or other bins")
        for key in keys:
            key.verify_signature(metadata.signatures[key.keyid], metadata.signed_bytes)
    except (RepositoryError, UnverifiedSignatureError, KeyError, ValueError) as error:
        raise StartupError(
            f"1.{role}.json is there already and is not of this ceremony: {error}. If nothing depends on the "
            "repository, remove its metadata and its ceremony folder, and run the ceremony again.",
            reason=Reason.REPOSITORY_INVALID,
            file=f"1.{role}.json",
        ) from error
