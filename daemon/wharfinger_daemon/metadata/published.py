"""What the published metadata says: what ``timestamp.json`` leads to, and not what lies beside it unpublished.

The store is ours, so signatures are not verified here; that everything is there and agrees is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from wharfinger_daemon.bin_delegation import even_bin_delegation, read_bin_delegation
from wharfinger_daemon.errors import CorruptStateError, Reason, StartupError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP, OfflineRoles
from wharfinger_daemon.metadata.ports import MetadataFiles

TARGETS = "targets"
INTERMEDIATE_BINS = "bins"

S = TypeVar("S", Snapshot, Timestamp, Targets)


@dataclass(frozen=True)
class Published:
    """One state of the repository, as clients see it.

    Attributes:
        timestamp: the content of ``timestamp.json``.
        versions: the current version of every role but root: timestamp, snapshot, and what the snapshot names.
    """

    timestamp: bytes
    versions: Mapping[str, int]


class PublishedView:
    """Reads the published state, and parses a snapshot only once."""

    def __init__(self, store: MetadataFiles) -> None:
        self._store = store
        self._seen: Published | None = None

    async def current(self) -> Published | None:
        """The state at this moment; None before the first publication.

        Raises:
            CorruptStateError: REPOSITORY_INVALID; the timestamp or snapshot is damaged or missing.
        """
        content = await self._store.read(TIMESTAMP, 0)
        if content is None:
            return None
        if self._seen is None or self._seen.timestamp != content:
            self._seen = await self._load(content)
        return self._seen

    async def _load(self, content: bytes) -> Published:
        timestamp = parse_timestamp(content)
        described = timestamp.snapshot_meta
        file = f"{described.version}.snapshot.json"
        snapshot = await self._store.read(SNAPSHOT, described.version)
        if snapshot is None:
            raise corrupt(file, "it is missing, and timestamp.json names it")
        try:
            described.verify_length_and_hashes(snapshot)  # As far as timestamp.json gives them: both are optional.
        except RepositoryError as error:
            raise corrupt(file, f"it is not what timestamp.json says of it: {error}") from error
        meta = _parse(file, snapshot, Snapshot).meta
        named = {name.removesuffix(".json"): entry.version for name, entry in meta.items()}
        return Published(content, {TIMESTAMP: timestamp.version, SNAPSHOT: described.version, **named})


def parse_timestamp(content: bytes) -> Timestamp:
    """Reads ``timestamp.json``.

    Raises:
        CorruptStateError: it cannot be read.
    """
    return _parse("timestamp.json", content, Timestamp)


def parse_targets(role: str, version: int, content: bytes) -> Targets:
    """Reads a file of targets metadata.

    Raises:
        CorruptStateError: it cannot be read, or is another version.
    """
    file = f"{version}.{role}.json"
    targets = _parse(file, content, Targets)
    if targets.version != version:
        raise corrupt(file, f"it says that it is version {targets.version}")
    return targets


async def published_versions(store: MetadataFiles) -> Mapping[str, int]:
    """The published version of every role but root; empty before the first publication.

    Raises:
        CorruptStateError: the timestamp or snapshot is damaged or missing.
        UnavailableError: the store does not answer.
    """
    published = await PublishedView(store).current()
    return {} if published is None else published.versions


async def published_bins(store: MetadataFiles, versions: Mapping[str, int]) -> HashBins | None:
    """The bins that the published metadata leads to; None if it leads to none.

    Args:
        versions: of ``Published``.

    Raises:
        CorruptStateError: a file is damaged or missing.
        UnavailableError: the store does not answer.
    """
    for role in (TARGETS, INTERMEDIATE_BINS):
        version = versions.get(role)
        content = None if version is None else await store.read(role, version)
        if version is None or content is None:
            continue
        delegation = even_bin_delegation(parse_targets(role, version, content).delegations)
        if delegation is not None:
            return HashBins.delegated(delegation)
    return None


async def read_offline_roles(store: MetadataFiles) -> OfflineRoles:
    """The offline roles and the bins that they delegate to: the newest versions that are there, counted up from those
    that the published snapshot names, or, before the first publication, from 1. Signatures are not verified: it is
    ``signing.trust`` that does, and takes the same versions.

    Args:
        store: with what is staged, if anything may be.

    Raises:
        StartupError: REPOSITORY_INVALID; a file is missing, or the delegation to hash bins is missing or uneven.
            CONFIGURATION_INVALID; there cannot be so many bins, or of such a name.
        CorruptStateError: a file is damaged.
    """
    named = await published_versions(store)
    states = []
    for role in (TARGETS, INTERMEDIATE_BINS):
        targets = await _newest_offline(store, role, named)
        states.append(RoleState(role, targets.version, targets.expires))
        try:
            delegation = read_bin_delegation(targets.delegations)
        except ValueError as error:
            raise _unpublishable(f"{targets.version}.{role}.json: {error}") from error
        if delegation is not None:
            return OfflineRoles(tuple(states), HashBins.delegated(delegation))
    raise _unpublishable("neither targets nor bins delegates to hash bins, by succinct_roles or path_hash_prefixes")


def _unpublishable(why: str) -> StartupError:
    return StartupError(
        f"The repository cannot be published: {why}. Make its offline metadata again.",
        reason=Reason.REPOSITORY_INVALID,
    )


async def _newest_offline(store: MetadataFiles, role: str, named: Mapping[str, int]) -> Targets:
    version = named.get(role, 1)
    content = await store.read(role, version)
    if content is None:
        raise StartupError(
            f"The metadata store has no {version}.{role}.json. Configure the store of this repository, or bring the "
            "file back.",
            reason=Reason.REPOSITORY_INVALID,
            file=f"{version}.{role}.json",
        )
    while (newer := await store.read(role, version + 1)) is not None:
        content, version = newer, version + 1
    return parse_targets(role, version, content)


def _parse(file: str, content: bytes, kind: type[S]) -> S:
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(content)
    except RepositoryError as error:
        raise corrupt(file, f"it cannot be read: {error}") from error
    if not isinstance(metadata.signed, kind):
        raise corrupt(file, f"it is {metadata.signed.type} metadata")
    return metadata.signed


def corrupt(file: str, why: str) -> CorruptStateError:
    """The error for a file that should not be as it is."""
    return CorruptStateError(
        f"The metadata store is damaged: {file}: {why}. Restore the file from a good copy.",
        reason=Reason.REPOSITORY_INVALID,
        file=file,
    )
