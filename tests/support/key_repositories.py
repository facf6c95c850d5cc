"""Repositories whose verified metadata lists whichever online keys a test wants, role by role."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, SuccinctRoles, Targets

from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.keys.administration import KeyAdministration
from wharfinger_daemon.keys.life_cycle import LineKey
from wharfinger_daemon.keys.lines import KeyLine, KeyLines
from wharfinger_daemon.keys.records import KeyRecords
from wharfinger_daemon.signing.standing import KeyState, Standing
from wharfinger_daemon.signing.trust import TrustedRepository, load_trusted_repository

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class OnlineKey:
    """A key pair of an online role."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.der = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.tuf: Key = SSlibKey.from_crypto(self.private.public_key())
        self.keyid: str = self.tuf.keyid


class ListedRepository:
    """A repository of which every version of the offline metadata lists other online keys.

    Args:
        seed: makes repositories of the same keys differ, by when their root 1 expires.
    """

    def __init__(self, name: str = "pypi", seed: int = 0) -> None:
        self.name = name
        self.clock = FixedClock(NOW)
        self._expires = NOW + timedelta(days=365, seconds=seed)
        self._files: dict[tuple[str, int], bytes] = {}
        self._root, self._targets, self._bins = (CryptoSigner.generate_ecdsa() for _ in range(3))
        self._version = 0

    async def read(self, role: str, version: int) -> bytes | None:
        """Implements ``signing.trust.MetadataSource``."""
        return self._files.get((role, version))

    @property
    def identity(self) -> str:
        return hashlib.sha256(self._files["root", 1]).hexdigest()

    def list(
        self,
        *keys: OnlineKey,
        timestamp: Sequence[OnlineKey] | None = None,
        snapshot: Sequence[OnlineKey] | None = None,
        bins: Sequence[OnlineKey] | None = None,
    ) -> None:
        """Signs the next version of root, targets and bins: these keys for every role for which no others are named."""
        self._version += 1
        root = Root(version=self._version, expires=self._expires, consistent_snapshot=True)
        root.add_key(self._root.public_key, "root")
        root.add_key(self._targets.public_key, "targets")
        for role, listed in (("timestamp", timestamp), ("snapshot", snapshot)):
            for key in keys if listed is None else listed:
                root.add_key(key.tuf, role)
        self._put("root", root, self._root)
        self._put("targets", self._delegating(), self._targets)
        self._put("bins", self._binning(keys if bins is None else bins), self._bins)

    async def trusted(self) -> TrustedRepository:
        return await load_trusted_repository(self.name, self.identity, self, self.clock)

    def _delegating(self) -> Targets:
        key = self._bins.public_key
        role = DelegatedRole("bins", [key.keyid], 1, False, path_hash_prefixes=[f"{digit:x}" for digit in range(16)])
        delegations = Delegations({key.keyid: key}, roles={"bins": role})
        return Targets(version=self._version, expires=self._expires, delegations=delegations)

    def _binning(self, keys: Collection[OnlineKey]) -> Targets:
        listed = {key.keyid: key.tuf for key in keys}
        delegations = Delegations(listed, succinct_roles=SuccinctRoles(list(listed), 1, 2, "bins"))
        return Targets(version=self._version, expires=self._expires, delegations=delegations)

    def _put(self, role: str, signed: Root | Targets, signer: CryptoSigner) -> None:
        metadata: Metadata[Root | Targets] = Metadata(signed)
        metadata.sign(signer)
        self._files[role, self._version] = metadata.to_bytes()


class LabelledToken:
    """Implements ``keys.administration.HeldKeys``: what the token holds is what ``labels`` says.

    Attributes:
        labels: by DER SubjectPublicKeyInfo.
        on_asked: called with the keys each time, as signing is.
        answers: set to False, it raises UnavailableError.
    """

    def __init__(self, *keys: OnlineKey) -> None:
        self.labels = {key.der: f"online-{number}" for number, key in enumerate(keys, 1)}
        self.on_asked: Callable[[frozenset[bytes]], None] = lambda held: None
        self.answers = True

    async def held(self) -> dict[bytes, str]:
        if not self.answers:
            raise UnavailableError("The token is unplugged.", reason=Reason.TOKEN_UNAVAILABLE)
        self.on_asked(frozenset(self.labels))
        return dict(self.labels)


class KeyWorld:
    """The administration of one repository's keys, on the parts that are given, and signing's view of it."""

    def __init__(
        self,
        records: KeyRecords,
        *keys: OnlineKey,
        lines: Sequence[KeyLine] = (),
        reserved: frozenset[bytes] = frozenset(),
    ) -> None:
        self.repository = ListedRepository()
        self.standing = Standing()
        self.token = LabelledToken(*keys)
        self.token.on_asked = self.standing.hold
        self.records = records
        self.administration = KeyAdministration(
            self.standing, KeyLines(lines, ["pypi"]), records, self.token, self.repository.clock, reserved
        )

    async def trust(self, *keys: OnlineKey, **roles: Sequence[OnlineKey]) -> None:
        """Has the offline metadata list these keys, and trusts it."""
        self.repository.list(*keys, **roles)
        self.standing.trust(await self.repository.trusted())

    def states(self) -> dict[str, KeyState]:
        """What signing was told."""
        return dict(self.standing.now.key_states.get("pypi", {}))

    async def rows(self) -> dict[str, LineKey]:
        return dict(await self.records.all(self.repository.identity))
