"""Which keys may sign for a repository: what its pinned root says, and nothing else.

The trusted root 1 is named by its SHA-256 in the configuration, and that digest is the repository's identity. From
there: every root N+1 is verified by root N and by itself (TUF specification 5.3), targets by the newest root, and the
role ``bins``, where targets delegates to one, by targets. Nothing unverified adds trust.

Roots are numbered without gaps, so the newest is found by counting up. Targets and ``bins`` are counted up from the
versions that the published snapshot names; without one (before the first publication) from 1. A newer version than the
named one was imported, and the next snapshot will name it; one that does not verify does not belong there, and is
refused. Timestamp and snapshot are only hints here: each offline file stands on its own signatures, and one that is
older than a snapshot in the ledger has named is refused at start (``SigningService.verify_ledger``).

Expired metadata is accepted, because a repository whose root has run out must still be able to renew the rest; ask
``expired_at``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import InvalidRequestError, Reason, StartupError
from wharfinger_daemon.signing.delegation import (
    INTERMEDIATE_BINS,
    DelegatedAuthorities,
    RoleAuthority,
    RootAuthorities,
)
from wharfinger_daemon.signing.ledger import Epoch

S = TypeVar("S", Root, Snapshot, Targets, Timestamp)


class MetadataSource(Protocol):
    """Where metadata files come from. They are not trusted."""

    async def read(self, role: str, version: int) -> bytes | None:
        """The file ``VERSION.ROLE.json``, or None if there is none. Version 0 means ``timestamp.json``, the only file
        without a version in its name."""
        ...


@dataclass(frozen=True)
class VerifiedMetadata:
    """The metadata that authorises, each verified by the one before it.

    Attributes:
        root: the newest one.
        targets: None in a repository that has none yet.
        bins: None where targets does not delegate to a role of that name.
        roots: all of them, from the trusted root 1 to the newest.
    """

    root: Root
    targets: Targets | None
    bins: Targets | None
    roots: tuple[Root, ...]


class TrustedRepository:
    """A repository as its verified metadata has it. It does not change; load it again to see newer metadata.

    Attributes:
        name: in the configuration.
        epoch: within what the ledger's rules hold.
        verified: the metadata that authorises.
        verified_at: when all this was verified.
        versions: the versions of root, targets and ``bins`` that authorise.

    Raises:
        ValueError: a key does not load, or one key stands under two keyids.
    """

    def __init__(self, name: str, epoch: Epoch, verified: VerifiedMetadata, verified_at: datetime) -> None:
        self.name = name
        self.epoch = epoch
        self.verified = verified
        self.verified_at = verified_at
        offline = {"root": verified.root, "targets": verified.targets, INTERMEDIATE_BINS: verified.bins}
        present = {role: metadata for role, metadata in offline.items() if metadata is not None}
        self.versions: Mapping[str, int] = {role: metadata.version for role, metadata in present.items()}
        self.expires: Mapping[str, datetime] = {role: metadata.expires for role, metadata in present.items()}
        self._authorities: list[RootAuthorities | DelegatedAuthorities] = [
            DelegatedAuthorities(metadata) if isinstance(metadata, Targets) else RootAuthorities(metadata)
            for metadata in present.values()
        ]

    def authority(self, role: str) -> RoleAuthority:
        """Who may sign a role.

        Raises:
            InvalidRequestError: neither root nor a delegation knows the role.
        """
        for authorities in self._authorities:
            authority = authorities.find(role)
            if authority is not None:
                return authority
        raise InvalidRequestError(
            f"Repository '{self.name}' has no role {ascii(role)[:200]}: neither its root nor its delegations name it.",
            reason=Reason.UNKNOWN_ROLE,
            role=role,
        )

    def authorities(self) -> Iterator[RoleAuthority]:
        """Every role once, all bins of a delegation in one."""
        for authorities in self._authorities:
            yield from authorities

    def expired_at(self, instant: datetime) -> list[str]:
        """Which of root, targets and ``bins`` are expired at an instant. Clients refuse a repository that has any."""
        return [role for role, expires in self.expires.items() if expires <= instant]


async def load_trusted_repository(
    name: str, root_sha256: str, source: MetadataSource, clock: Clock, *, epoch_number: int = 1
) -> TrustedRepository:
    """Verifies a repository from its pinned root.

    Args:
        root_sha256: the pin, 64 hexadecimal digits.
        epoch_number: of the ledger's newest epoch.

    Raises:
        StartupError: REPOSITORY_INVALID, with the file and what is wrong with it.
    """
    loading = _Loading(name, source)
    roots = await loading.roots(root_sha256)
    root = roots[-1]
    named = await loading.named_by_snapshot()
    targets = await loading.delegated("targets", root, named)
    bins = None
    if targets is not None and _delegates_to_bins(targets):
        bins = await loading.delegated(INTERMEDIATE_BINS, targets, named)
        if bins is None:
            raise loading.invalid("1.bins.json", "it is missing, and targets delegates to it")
    try:
        verified = VerifiedMetadata(root, targets, bins, roots)
        return TrustedRepository(name, Epoch(root_sha256, epoch_number), verified, clock.now())
    except ValueError as error:
        raise loading.invalid("root, targets or bins", f"a delegation cannot be used: {error}") from error


def _delegates_to_bins(targets: Targets) -> bool:
    return targets.delegations is not None and INTERMEDIATE_BINS in (targets.delegations.roles or {})


class _Loading:
    """One pass over the files of one repository."""

    def __init__(self, name: str, source: MetadataSource) -> None:
        self._name = name
        self._source = source

    async def roots(self, pin: str) -> tuple[Root, ...]:
        content = await self._source.read("root", 1)
        if content is None:
            raise self.invalid("1.root.json", "it is missing")
        digest = hashlib.sha256(content).hexdigest()
        if digest != pin:
            raise self.invalid("1.root.json", f"its SHA-256 is {digest}, and the configuration pins {pin}")
        roots = [self._verified("1.root.json", content, Root, None, 1)]
        while (content := await self._source.read("root", len(roots) + 1)) is not None:
            version = len(roots) + 1
            roots.append(self._verified(f"{version}.root.json", content, Root, roots[-1], version))
        return tuple(roots)

    async def named_by_snapshot(self) -> Mapping[str, int]:
        """The versions that the published snapshot names; empty before the first publication."""
        content = await self._source.read("timestamp", 0)
        if content is None:
            return {}
        version = self._parsed("timestamp.json", content, Timestamp).signed.snapshot_meta.version
        file = f"{version}.snapshot.json"
        content = await self._source.read("snapshot", version)
        if content is None:
            raise self.invalid(file, "it is missing, and timestamp.json names it")
        meta = self._parsed(file, content, Snapshot).signed.meta
        return {name.removesuffix(".json"): described.version for name, described in meta.items()}

    async def delegated(self, role: str, delegator: Root | Targets, named: Mapping[str, int]) -> Targets | None:
        """The verified metadata of an offline role: the newest, counted up from the version that the snapshot names."""
        version = named.get(role, 1)
        content = await self._source.read(role, version)
        if content is None:
            if named:
                raise self.invalid(f"{version}.{role}.json", "it is missing, and the published snapshot names it")
            return None
        while (newer := await self._source.read(role, version + 1)) is not None:
            content, version = newer, version + 1
        return self._verified(f"{version}.{role}.json", content, Targets, delegator, version, role)

    def _verified(
        self, file: str, content: bytes, kind: type[S], delegator: Root | Targets | None, version: int, role: str = ""
    ) -> S:
        metadata = self._parsed(file, content, kind)
        signed = metadata.signed
        try:
            if delegator is not None:
                delegator.verify_delegate(role or signed.type, metadata.signed_bytes, metadata.signatures)
            if isinstance(signed, Root):
                signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
        except (RepositoryError, ValueError) as error:
            raise self.invalid(file, f"its signatures do not hold: {error}") from error
        if signed.version != version:
            raise self.invalid(file, f"it says that it is version {signed.version}")
        return signed

    def _parsed(self, file: str, content: bytes, kind: type[S]) -> Metadata[S]:
        try:
            metadata: Metadata[Any] = Metadata.from_bytes(content)
        except RepositoryError as error:
            raise self.invalid(file, f"it cannot be read: {error}") from error
        if not isinstance(metadata.signed, kind):
            raise self.invalid(file, f"it is {metadata.signed.type} metadata")
        return metadata

    def invalid(self, file: str, why: str) -> StartupError:
        return StartupError(
            f"The metadata of repository '{self._name}' is not valid: {file}: {why}. Compare the configuration's "
            "root_sha256 and metadata_directory or bucket with the repository, and restore the file from a good copy.",
            reason=Reason.REPOSITORY_INVALID,
            repository=self._name,
            file=file,
        )
