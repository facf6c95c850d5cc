"""A repository, a signing service on it, and a real server before that, for everything that can be sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.signing.ledger import Ledger
from wharfinger_daemon.signing.memory_keys import MemoryKeys
from wharfinger_daemon.signing.memory_ledger import MemoryLedger
from wharfinger_daemon.signing.model import Caller, SigningGrant, SigningPolicy
from wharfinger_daemon.signing.service import SigningService
from wharfinger_daemon.signing.standing import Standing
from wharfinger_daemon.signing.trust import TrustedRepository, load_trusted_repository

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CALLER = Caller("warehouse", (SigningGrant(("*",), ("*",)),))
# Versions of any size, so that it is the reading that decides and not the ledger.
POLICY = SigningPolicy(max_version_jump=2**63)


class _Files:
    """Implements ``MetadataSource``."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, int], bytes] = {}

    async def read(self, role: str, version: int) -> bytes | None:
        return self.files.get((role, version))


@dataclass
class Quarry:
    """What is attacked: a repository whose roles one held key may sign, and valid documents of it."""

    key: ec.EllipticCurvePrivateKey
    repository: TrustedRepository
    bases: tuple[dict[str, object], ...] = field(repr=False)

    @property
    def public_key(self) -> SSlibKey:
        return SSlibKey.from_crypto(self.key.public_key())

    def service(self, ledger: Ledger | None = None) -> SigningService:
        """A service with an empty ledger."""
        keys = MemoryKeys([self.key])
        return SigningService(Standing([self.repository]), ledger or MemoryLedger(), keys, POLICY, FixedClock(NOW))


def _documents(key: SSlibKey) -> list[Signed]:
    soon, late = NOW + timedelta(hours=24), NOW + timedelta(days=300)
    root = Root(version=1, expires=late)
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(key, role)
    prefixes = DelegatedRole("bins", [key.keyid], 1, True, path_hash_prefixes=list("0123456789abcdef"))
    targets = Targets(1, expires=late, delegations=Delegations({key.keyid: key}, roles={"bins": prefixes}))
    succinct = SuccinctRoles([key.keyid], 1, 1, "bins")
    bins = Targets(1, expires=late, delegations=Delegations({key.keyid: key}, succinct_roles=succinct))
    paths = [f"packages/{number}.whl" for number in range(20)]
    inside = [path for path in paths if succinct.get_role_for_target(path) == "bins-0"][:3]
    files = {path: TargetFile(3, {"sha256": "0" * 64, "blake2b-256": "ab" * 32}, path) for path in inside}
    one = Targets(1, expires=soon, targets=files)
    measured = MetaFile(1, 10, {"sha256": "0" * 64})
    meta = {"targets.json": MetaFile(1), "bins.json": MetaFile(1), "bins-0.json": measured}
    return [
        root,
        targets,
        bins,
        one,
        Targets(1, expires=soon),
        Snapshot(1, expires=soon, meta=meta),
        Timestamp(1, expires=soon, snapshot_meta=measured),
    ]


@pytest.fixture(scope="session")
def quarry() -> Quarry:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = CryptoSigner(key, SSlibKey.from_crypto(key.public_key()))
    documents = _documents(signer.public_key)
    source = _Files()
    for role, signed in zip(("root", "targets", "bins"), documents, strict=False):
        metadata = Metadata(signed)
        metadata.sign(signer)
        source.files[role, 1] = metadata.to_bytes()
    pin = hashlib.sha256(source.files["root", 1]).hexdigest()
    repository = asyncio.run(load_trusted_repository("pypi", pin, source, FixedClock(NOW)))
    # Version 2 of what is trusted already, and otherwise the same.
    bases = tuple(json.loads(json.dumps({**signed.to_dict(), "version": 2})) for signed in documents)
    return Quarry(key, repository, bases)
