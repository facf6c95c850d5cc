"""A small repository whose keys the tests have: offline keys as signers, the online key in memory."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.signing.facts import parse, read
from wharfinger_daemon.signing.memory_keys import MemoryKeys
from wharfinger_daemon.signing.memory_ledger import MemoryLedger
from wharfinger_daemon.signing.model import Caller, PreparedItem, SigningGrant, SigningItem, SigningPolicy
from wharfinger_daemon.signing.service import SigningService
from wharfinger_daemon.signing.standing import Standing
from wharfinger_daemon.signing.trust import load_trusted_repository

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BIT_LENGTH = 2  # four bins


class FilesInMemory:
    """Implements ``MetadataSource``."""

    def __init__(self):
        self.files = {}

    async def read(self, role, version):
        return self.files.get((role, version))

    def put(self, metadata, role, version=None):
        self.files[role, metadata.signed.version if version is None else version] = metadata.to_bytes()


@dataclass
class RepositoryMaker:
    """Makes valid metadata of one repository; tests then change what they are about."""

    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    source: FilesInMemory = field(default_factory=FilesInMemory)
    online: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    root_signers: list = field(default_factory=lambda: [CryptoSigner.generate_ecdsa() for _ in range(3)])
    targets_signer: CryptoSigner = field(default_factory=CryptoSigner.generate_ecdsa)
    bins_signer: CryptoSigner = field(default_factory=CryptoSigner.generate_ecdsa)

    @property
    def online_key(self):
        return SSlibKey.from_crypto(self.online.public_key())

    def expires(self, **duration):
        return self.clock.now() + timedelta(**duration)

    def root(self, version=1):
        root = Root(version=version, expires=self.expires(days=365))
        for signer in self.root_signers:
            root.add_key(signer.public_key, "root")
        root.roles["root"].threshold = 2
        root.add_key(self.targets_signer.public_key, "targets")
        root.add_key(self.online_key, "snapshot")
        root.add_key(self.online_key, "timestamp")
        return root

    def targets(self, version=1):
        """Targets that delegate everything to ``bins`` by hash prefix."""
        key = self.bins_signer.public_key
        role = DelegatedRole("bins", [key.keyid], 1, True, path_hash_prefixes=list("0123456789abcdef"))
        return Targets(
            version=version,
            expires=self.expires(days=365),
            delegations=Delegations({key.keyid: key}, roles={"bins": role}),
        )

    def bins(self, version=1, keys=None):
        keys = keys or [self.online_key]
        succinct = SuccinctRoles([key.keyid for key in keys], 1, BIT_LENGTH, "bins")
        return Targets(
            version=version,
            expires=self.expires(days=365),
            delegations=Delegations({key.keyid: key for key in keys}, succinct_roles=succinct),
        )

    def put_root(self, root, signers=None):
        self.source.put(signed_by(root, *(signers or self.root_signers[:2])), "root")

    def put_offline(self):
        self.put_root(self.root())
        self.source.put(signed_by(self.targets(), self.targets_signer), "targets")
        self.source.put(signed_by(self.bins(), self.bins_signer), "bins")

    @property
    def pin(self):
        return hashlib.sha256(self.source.files["root", 1]).hexdigest()

    async def load(self, name="pypi"):
        return await load_trusted_repository(name, self.pin, self.source, self.clock)

    def bin(self, role="bins-0", version=1, paths=None, expires=None):
        targets = {path: TargetFile(1, {"sha256": "0" * 64}, path) for path in (paths or [path_in(role)])}
        return Targets(version=version, expires=expires or self.expires(hours=24), targets=targets)

    def snapshot(self, version=1, **versions):
        named = {"targets": 1, "bins": 1, **{name.replace("_", "-"): number for name, number in versions.items()}}
        return Snapshot(
            version=version,
            expires=self.expires(hours=24),
            meta={f"{name}.json": MetaFile(number) for name, number in named.items()},
        )

    def timestamp(self, version=1, snapshot=1):
        return Timestamp(version=version, expires=self.expires(hours=24), snapshot_meta=MetaFile(snapshot))


def signed_by(signed, *signers):
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def canonical_bytes(signed):
    return Metadata(signed).signed_bytes


def path_in(role, number=0):
    """The nth path that hashes into a bin."""
    succinct = SuccinctRoles(["key"], 1, BIT_LENGTH, "bins")
    paths = (f"packages/{candidate}.whl" for candidate in count())
    return next(islice((path for path in paths if succinct.get_role_for_target(path) == role), number, None))


class CountingObserver:
    """Implements ``SigningObserver``."""

    def __init__(self):
        self.given = []
        self.reasons = []
        self.refusals = []

    def signed(self, role_type, count, *, replayed):
        self.given.append((role_type, count, replayed))

    def refused(self, refusal):
        self.reasons.append(refusal.reason)
        self.refusals.append(refusal)


@dataclass
class Bench:
    """A service on fakes, and all its parts."""

    maker: RepositoryMaker
    keys: MemoryKeys
    ledger: MemoryLedger
    observer: CountingObserver
    policy: SigningPolicy
    repository: object
    standing: Standing
    service: SigningService

    caller = Caller("warehouse", (SigningGrant(("pypi",), ("*",)),))

    async def sign(self, *items, caller=None, timeout_seconds=10):
        return await self.service.sign(
            items, caller=caller or self.caller, request_id="request", timeout_seconds=timeout_seconds
        )

    async def sign_prepared(self, *items):
        return await self.service.sign_prepared(items, request_id="request", timeout_seconds=10)

    async def lint(self, *items, caller=None):
        return await self.service.lint(items, caller=caller or self.caller)

    def reservations(self):
        """How many versions the ledger holds."""
        return len(self.ledger._state.digests)

    @staticmethod
    def item(signed, role="", keyid="", repository="pypi"):
        return SigningItem(repository, role, signed if isinstance(signed, bytes) else canonical_bytes(signed), keyid)

    def prepared(self, signed, role, **changes):
        content = canonical_bytes(signed)
        facts = read(parse(content), role, self.policy).facts
        return PreparedItem("pypi", replace(facts, **changes), content, hashlib.sha256(content).digest())


@pytest.fixture
def maker():
    made = RepositoryMaker()
    made.put_offline()
    return made


@pytest.fixture
async def bench(maker):
    return await make_bench(maker)


async def make_bench(maker, private_keys=None, policy=None):
    policy = policy or SigningPolicy()
    keys = MemoryKeys([maker.online] if private_keys is None else private_keys)
    ledger = MemoryLedger()
    observer = CountingObserver()
    repository = await maker.load()
    standing = Standing([repository])
    service = SigningService(standing, ledger, keys, policy, maker.clock, observer)
    return Bench(maker, keys, ledger, observer, policy, repository, standing, service)


@pytest.fixture
def bench_of():
    """Makes a bench from a changed repository, other keys or another policy."""
    return make_bench


@pytest.fixture
def sign_metadata():
    return signed_by


@pytest.fixture
def to_canonical():
    return canonical_bytes


@pytest.fixture
def path_of():
    return path_in
