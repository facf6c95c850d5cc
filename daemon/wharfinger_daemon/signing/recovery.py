"""What a lost ledger can still be known to have signed: everything that is published, verified from the trusted root.

The published metadata is the least that was signed. Versions above it may have been signed and lost with the ledger, so
whoever rebuilds adds a margin, or floors that they know of, and versions go on above those.

A new *epoch* lets versions go on below what was signed, and above what is published, which recovers from a fast-forward
attack. Clients accept that only once they no longer accept what the old keys signed (TUF specification 5.3.11), so it
takes a verified root that revokes every key which could sign timestamp and snapshot in the epoch before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp

from wharfinger_daemon.errors import InvalidRequestError, Reason, RefusedError, StartupError
from wharfinger_daemon.signing.facts import MAX_VERSION
from wharfinger_daemon.signing.model import ClaimedVersions
from wharfinger_daemon.signing.trust import MetadataSource, TrustedRepository, VerifiedMetadata

_FAST = ("timestamp", "snapshot")

S = TypeVar("S", Snapshot, Targets, Timestamp)

Progress = Callable[[int, int], None]
"""Told how many roles were verified, of how many."""

Seen = Callable[[str, Signed, str], None]
"""Given each verified role, what it says, and the keyid that signed it; empty for roles that are signed elsewhere."""


@dataclass(frozen=True)
class VerifiedPublication:
    """The published metadata, every signature verified.

    Attributes:
        versions: of every role but root.
        online: the roles that are signed here: timestamp, snapshot and the bins.
        timestamp_sha256: in hexadecimal; names the publication in the log.
    """

    versions: Mapping[str, int]
    online: frozenset[str]
    timestamp_sha256: str

    def floors(self, declared: Mapping[str, int], margin: int) -> dict[str, dict[str, int]]:
        """The floors of a ledger that signed this publication, and perhaps more.

        Args:
            declared: versions that were used, as the operator knows, by pattern of roles such as ``bins-*``.
            margin: how many versions above the published ones may have been signed.

        Raises:
            InvalidRequestError: a pattern fits no online role, or a version is none.
        """
        _require_sensible(declared, margin, self.online)
        floors = {
            role: {role: max(self.versions[role] + margin, _declared(declared, role))} for role in sorted(self.online)
        }
        floors["timestamp"]["snapshot"] = self.versions["snapshot"]
        floors["snapshot"].update({role: version for role, version in self.versions.items() if role not in _FAST})
        return floors


def starts_of_epoch(
    claimed: Mapping[str, ClaimedVersions], published: Mapping[str, int], declared: Mapping[str, int]
) -> dict[str, int]:
    """Above which version each role goes on in a new epoch: the published one, or a higher one that the operator names.

    Args:
        claimed: what was signed in the epoch before.
        published: the versions that the store shows. Caches keep their files for ever, so none may get another content.
        declared: by pattern of roles such as ``bins-*``.

    Raises:
        InvalidRequestError: a pattern fits no role that was signed here, or a version is none.
        RefusedError: EPOCH_REFUSED; a version is below the published one.
    """
    signed = sorted(role for role, taken in claimed.items() if taken.signed)
    _require_sensible(declared, 0, frozenset(signed))
    starts = {}
    for role in signed:
        least = published.get(role, 0)
        start = _declared(declared, role) or least
        if start < least:
            raise RefusedError(
                f"'{role}' cannot go on above version {start}: version {least} is published, and caches keep its file. "
                f"Name {least} or more.",
                reason=Reason.EPOCH_REFUSED,
                role=role,
            )
        starts[role] = start
    return starts


def _unseen(role: str, signed: Signed, keyid: str) -> None:
    pass


async def verify_publication(
    repository: TrustedRepository, source: MetadataSource, told: Progress, seen: Seen = _unseen
) -> VerifiedPublication:
    """Verifies everything that ``timestamp.json`` leads to, the timestamp first and the snapshot second.

    Raises:
        StartupError: REPOSITORY_INVALID, with the file and what is wrong with it.
    """
    reading = _Reading(repository, source, seen)
    content, timestamp = await reading.verified("timestamp", 0, Timestamp, repository.verified.root)
    described = timestamp.snapshot_meta
    file, snapshot = await reading.verified("snapshot", described.version, Snapshot, repository.verified.root)
    try:
        described.verify_length_and_hashes(file)
    except RepositoryError as error:
        raise reading.invalid(f"{described.version}.snapshot.json", str(error)) from error
    versions = {"timestamp": timestamp.version, "snapshot": snapshot.version}
    total = len(snapshot.meta)
    for done, (name, meta) in enumerate(sorted(snapshot.meta.items()), 1):
        role = name.removesuffix(".json")
        await reading.verified(role, meta.version, Targets, _delegator(repository.verified, role, reading))
        versions[role] = meta.version
        told(done, total)
    online = frozenset(versions) - frozenset(repository.versions)
    return VerifiedPublication(versions, online, hashlib.sha256(content).hexdigest())


def require_revoked(roots: Sequence[Root], opened_with: int) -> None:
    """Refuses a new epoch unless the newest root revokes every key that could sign in the epoch before.

    Args:
        roots: all verified roots, the newest last.
        opened_with: the version of the root that was the newest when the epoch was opened; 1 for the first.

    Raises:
        RefusedError: EPOCH_REFUSED, with the keys that are still listed.
    """
    newest = roots[-1]
    if newest.version <= opened_with:
        raise RefusedError(
            f"A new epoch needs a newer root than version {opened_with}, with which the present one was opened: one "
            "that revokes the keys of timestamp and snapshot. Hold a ceremony and import it first.",
            reason=Reason.EPOCH_REFUSED,
        )
    before = [root for root in roots if opened_with <= root.version < newest.version]
    still = {keyid for root in before for keyid in _fast_keys(root)} & _fast_keys(newest)
    if still:
        raise RefusedError(
            f"Root {newest.version} still lists {', '.join(sorted(still))} for timestamp or snapshot, which could sign "
            "in the present epoch. Clients that saw higher versions would refuse lower ones. Hold a ceremony whose "
            "root revokes these keys, and import it first.",
            reason=Reason.EPOCH_REFUSED,
        )


def _fast_keys(root: Root) -> set[str]:
    return {keyid for role in _FAST for keyid in root.roles[role].keyids}


def _declared(declared: Mapping[str, int], role: str) -> int:
    return max((version for pattern, version in declared.items() if fnmatchcase(role, pattern)), default=0)


def _require_sensible(declared: Mapping[str, int], margin: int, online: frozenset[str]) -> None:
    for pattern, version in declared.items():
        if not any(fnmatchcase(role, pattern) for role in online):
            raise InvalidRequestError(
                f"'{pattern}' fits no role that is signed here. Name timestamp, snapshot, or bins such as 'bins-*'.",
                reason=Reason.UNKNOWN_ROLE,
            )
        if not 0 < version <= MAX_VERSION:
            raise InvalidRequestError(
                f"{version} is no version: they count from 1.", reason=Reason.MALFORMED_REQUEST, role=pattern
            )
    if not 0 <= margin <= 1_000_000:
        raise InvalidRequestError(
            f"A margin of {margin} makes no sense. Name 0 to 1,000,000 versions.", reason=Reason.MALFORMED_REQUEST
        )


def _delegator(verified: VerifiedMetadata, role: str, reading: _Reading) -> Root | Targets:
    if role == "targets":
        return verified.root
    for targets in (verified.targets, verified.bins):
        delegations = None if targets is None else targets.delegations
        if targets is None or delegations is None:
            continue
        succinct = delegations.succinct_roles
        if role in (delegations.roles or {}) or (succinct is not None and succinct.is_delegated_role(role)):
            return targets
    raise reading.invalid("the snapshot", f"it names '{role}', to which nothing delegates")


class _Reading:
    """Files of one repository, each verified by its delegator."""

    def __init__(self, repository: TrustedRepository, source: MetadataSource, seen: Seen) -> None:
        self._repository = repository
        self._source = source
        self._seen = seen

    async def verified(self, role: str, version: int, kind: type[S], delegator: Root | Targets) -> tuple[bytes, S]:
        file = f"{version}.{role}.json" if version else f"{role}.json"
        content = await self._source.read(role, version)
        if content is None:
            raise self.invalid(file, "it is missing")
        try:
            metadata: Metadata[Any] = Metadata.from_bytes(content)
            delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except (RepositoryError, ValueError) as error:
            raise self.invalid(file, str(error)) from error
        signed = metadata.signed
        if not isinstance(signed, kind):
            raise self.invalid(file, f"it is {signed.type} metadata")
        if version and signed.version != version:
            raise self.invalid(file, f"it says that it is version {signed.version}")
        elsewhere = role in self._repository.versions
        self._seen(role, signed, "" if elsewhere else next(iter(metadata.signatures)))
        return content, signed

    def invalid(self, file: str, why: str) -> StartupError:
        return StartupError(
            f"The published metadata of repository '{self._repository.name}' cannot be relied on: {file}: {why}. "
            "Nothing was changed. Restore the file from a good copy.",
            reason=Reason.REPOSITORY_INVALID,
            repository=self._repository.name,
            file=file,
        )
