"""The ceremony of a development repository: offline keys, and the metadata that they sign.

A real ceremony has people, machines without a network, and keys that never meet (PEP 458, "Metadata Signing Ceremony").
Here everything happens in one process and the keys are left in a folder, in the clear, so that one can play with them.

    root       2 of 3 keys   signs the keys of the top-level roles; a year
    targets    2 of 2 keys   delegates every path to ``bins``; a year
    bins       2 of 2 keys   delegates to the hash bins, succinctly (TAP 15), which the online key signs; a year

Each key and each file is whole or absent, and what is there is used: a ceremony that was interrupted can be run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    SuccinctRoles,
    Targets,
)

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP
from wharfinger_daemon.metadata.ports import MetadataStore, VersionedFile
from wharfinger_daemon.metadata.published import INTERMEDIATE_BINS, TARGETS
from wharfinger_daemon.metadata.reading import ROOT

OFFLINE_LIFETIME = timedelta(days=365)

_NUMBER_OF_KEYS: Mapping[str, int] = {ROOT: 3, TARGETS: 2, INTERMEDIATE_BINS: 2}
_THRESHOLD = 2


@dataclass(frozen=True)
class _Keys:
    offline: Mapping[str, Sequence[CryptoSigner]]
    online: SSlibKey


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
        StartupError: REPOSITORY_INVALID; what is there already belongs to another ceremony, or cannot be read.
        UnavailableError: the store does not answer.
    """
    online = _online_key(online_public_key)
    offline = await asyncio.to_thread(_offline_keys, ceremony_directory)
    keys = _Keys(offline, online)
    expires = (clock.now() + OFFLINE_LIFETIME).replace(microsecond=0)
    await store.lock()
    try:
        # Root comes last: where it is, the ceremony is over.
        bins_file = await _made(store, INTERMEDIATE_BINS, _bins(keys, bins, expires))
        targets_file = await _made(store, TARGETS, _targets(keys, expires))
        root_file = await _made(store, ROOT, _root(keys, expires))
    finally:
        await store.unlock()
    _verify(root_file, targets_file, bins_file, keys, bins, ceremony_directory)
    return hashlib.sha256(root_file).hexdigest()
