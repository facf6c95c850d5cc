"""The values of signing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from tuf.api.metadata import SPECIFICATION_VERSION

from wharfinger_daemon.audit.leaf import LeafReference


class RoleType(StrEnum):
    """What kind of promise a role makes, and so how long it may last.

    ``TARGETS`` is the top-level role and every role that it delegates to, but for the leaves that hash-bin delegations
    lead to, which are ``BINS``. The intermediate role named ``bins`` delegates further, so it is ``TARGETS``.
    """

    ROOT = "root"
    TARGETS = "targets"
    BINS = "bins"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class Rate:
    """How fast signatures may be asked for.

    Attributes:
        per_second: in the long run.
        burst: at once, after a pause; 1 or more.
    """

    per_second: float
    burst: int


@dataclass(frozen=True)
class SigningGrant:
    """Roles of repositories that a caller may have signed, as ``fnmatch`` patterns such as ``bins-*``.

    Attributes:
        rate: how fast; None for as fast as the caller may otherwise.
    """

    repositories: tuple[str, ...]
    roles: tuple[str, ...]
    rate: Rate | None = None

    def allows(self, repository: str, role: str) -> bool:
        """Whether both a repository pattern and a role pattern match."""
        return _any_matches(repository, self.repositories) and _any_matches(role, self.roles)


@dataclass(frozen=True)
class Caller:
    """Who asks. Without a grant that says otherwise, nothing is allowed.

    Attributes:
        rate: how fast, over all grants together; None for no bound of its own.
    """

    name: str
    grants: tuple[SigningGrant, ...]
    rate: Rate | None = None

    def may_sign(self, repository: str, role: str) -> bool:
        """Whether one of the grants allows this role of this repository."""
        return any(grant.allows(repository, role) for grant in self.grants)

    def may_use(self, repository: str) -> bool:
        """Whether one of the grants names this repository at all."""
        return any(_any_matches(repository, grant.repositories) for grant in self.grants)


@dataclass(frozen=True)
class SigningItem:
    """One thing to sign, as a caller sends it: nothing of it is believed.

    Attributes:
        repository: the repository's name in the configuration.
        role: the TUF role; may be empty where ``_type`` leaves no doubt (root, snapshot, timestamp).
        signed: the canonical JSON bytes of the ``signed`` object.
        keyid: the TUF keyid to sign with; empty for the one key of the role that the token holds.
    """

    repository: str
    role: str
    signed: bytes
    keyid: str = ""


@dataclass(frozen=True)
class MetadataFacts:
    """What the ``signed`` bytes of one version of one role say, as far as it matters for signing.

    Attributes:
        role: the role's name, such as ``bins-0a3f``.
        type: the ``_type``: root, targets, snapshot or timestamp.
        version: from 1 to 2**63 - 1.
        expires: in UTC, whole seconds.
        meta: for a snapshot or timestamp, the version of each role that it names (without ``.json``); else empty.
        spec_version: as written.
    """

    role: str
    type: str
    version: int
    expires: datetime
    meta: Mapping[str, int] = field(default_factory=dict)
    spec_version: str = ".".join(SPECIFICATION_VERSION)


@dataclass(frozen=True)
class PreparedItem:
    """One thing to sign, from the publisher in this process: it knows the facts because it wrote the bytes.

    Attributes:
        digest: SHA-256 of ``signed``.
    """

    repository: str
    facts: MetadataFacts
    signed: bytes
    digest: bytes
    keyid: str = ""


@dataclass(frozen=True)
class Signature:
    """A signature that was verified and recorded before it was returned.

    Attributes:
        signature: as TUF has it before hex encoding (ECDSA: DER).
        replayed: these bytes had been signed with this key before, and this is that signature.
        leaf: of the audit log, which says so.
    """

    keyid: str
    signature: bytes
    role: str
    version: int
    replayed: bool
    leaf: LeafReference


@dataclass(frozen=True)
class LintResult:
    """What ``sign`` would say of one item. ``reason`` and ``message`` are empty if it would accept it."""

    reason: str = ""
    message: str = ""
    keyid: str = ""
    role: str = ""
    version: int = 0
    already_signed: bool = False


@dataclass(frozen=True)
class ClaimedVersions:
    """Which versions of a role are taken: the next one must be above ``signed`` and not below ``named``.

    Attributes:
        signed: the highest version that was signed, by anybody; 0 for none.
        named: the highest version that a signed snapshot or timestamp names; 0 for none.
    """

    signed: int
    named: int


@dataclass(frozen=True)
class RepositoryKey:
    """A key that the verified metadata authorises and the token holds.

    Attributes:
        roles: what it may sign; ``bins-*`` stands for all bins.
        verified_at: when the root that authorises it was last verified.
    """

    keyid: str
    keytype: str
    scheme: str
    public_key_pem: str
    roles: tuple[str, ...]
    verified_at: datetime


@dataclass(frozen=True)
class ExpiryCeilings:
    """The farthest from now that metadata may expire: by type, and for some roles otherwise.

    Attributes:
        by_role: ceilings for ``fnmatch`` patterns of roles, in place of that of the type.
    """

    root: timedelta = timedelta(days=400)
    targets: timedelta = timedelta(days=400)
    bins: timedelta = timedelta(hours=48)
    snapshot: timedelta = timedelta(hours=48)
    timestamp: timedelta = timedelta(hours=48)
    by_role: tuple[tuple[str, timedelta], ...] = ()

    def of(self, role_type: RoleType, role: str) -> timedelta:
        """The ceiling for a role: the lowest of the patterns that match, or else that of its type."""
        own = [ceiling for pattern, ceiling in self.by_role if fnmatchcase(role, pattern)]
        if own:
            return min(own)
        return {
            RoleType.ROOT: self.root,
            RoleType.TARGETS: self.targets,
            RoleType.BINS: self.bins,
            RoleType.SNAPSHOT: self.snapshot,
            RoleType.TIMESTAMP: self.timestamp,
        }[role_type]


@dataclass(frozen=True)
class VersionJumps:
    """Where the bound on version jumps is another than ``SigningPolicy.max_version_jump``.

    Attributes:
        by_type: bounds for types of roles.
        by_role: bounds for ``fnmatch`` patterns of roles, in place of that of the type.
    """

    by_type: tuple[tuple[RoleType, int], ...] = ()
    by_role: tuple[tuple[str, int], ...] = ()

    def exceptions(self, roles: Iterable[tuple[str, RoleType]]) -> Mapping[str, int]:
        """Of these roles, those with a bound of their own: the lowest of the patterns that match, or that of the type.

        Takes no time while there are no such bounds: ``roles`` is not even looked at.
        """
        if not self.by_type and not self.by_role:
            return {}
        found = ((role, self._of(role, role_type)) for role, role_type in roles)
        return {role: bound for role, bound in found if bound is not None}

    def _of(self, role: str, role_type: RoleType) -> int | None:
        own = [bound for pattern, bound in self.by_role if fnmatchcase(role, pattern)]
        return min(own) if own else dict(self.by_type).get(role_type)


@dataclass(frozen=True)
class SigningPolicy:
    """What is signed, beyond what the specification demands.

    Attributes:
        max_version_jump: how far a version may be above the highest one used, so that nobody can use versions up.
        version_jumps: for which roles that bound is another.
        max_batch: how many items a caller may send at once.
        spec_versions: ``fnmatch`` patterns of the ``spec_version`` that may be signed.
        min_seconds: with less time left, neither the ledger nor the token is asked.
    """

    expiry_ceilings: ExpiryCeilings = ExpiryCeilings()
    max_version_jump: int = 1000
    version_jumps: VersionJumps = VersionJumps()
    max_batch: int = 256
    spec_versions: tuple[str, ...] = ("1.*",)
    min_seconds: float = 0.01

    def speaks(self, spec_version: str) -> bool:
        """Whether metadata of this specification version may be signed."""
        return _any_matches(spec_version, self.spec_versions)


def _any_matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
