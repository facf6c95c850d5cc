"""Reads metadata as clients get it: published files, byte for byte, and what they say of a target."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime

from wharfinger_daemon.errors import NotFoundError, Reason
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.planning import TIMESTAMP
from wharfinger_daemon.metadata.ports import MetadataStore, file_name
from wharfinger_daemon.metadata.published import (
    INTERMEDIATE_BINS,
    TARGETS,
    PublishedView,
    corrupt,
    parse_targets,
    published_bins,
)
from wharfinger_daemon.metadata.targets import Target, require_target_path

ROOT = "root"


@dataclass(frozen=True)
class MetadataFile:
    """A metadata file.

    Attributes:
        content: the file; None if the reader's copy is the right one.
        etag: the hexadecimal SHA-256 of the file.
    """

    content: bytes | None
    version: int
    etag: str


@dataclass(frozen=True)
class PublishedTarget:
    """What the published metadata says of a target, in which version of which bin, and until when that holds."""

    target: Target
    role: str
    role_version: int
    expires: datetime


class MetadataReader:
    """Reads one repository. What is prepared and not published is not seen, nor is anything that is no metadata.

    Signatures are not verified: clients do that.
    """

    def __init__(self, store: MetadataStore, bins: HashBins) -> None:
        self._store = store
        self._bins = bins
        self._bins_of: tuple[int, ...] = ()
        self._view = PublishedView(store)
        self._newest_root = 1

    async def get(self, role: str, version: int = 0, *, if_none_match: str = "") -> MetadataFile:
        """One file.

        Args:
            version: 0 for the current one: the highest root; of the other roles, what the timestamp leads to.
            if_none_match: the etag of the reader's copy.

        Raises:
            InvalidRequestError: MALFORMED_REQUEST; the role is no name of a role, or the version is negative.
            NotFoundError: METADATA_NOT_FOUND; no such role or version is published, or it is no longer kept.
            CorruptStateError: the store is damaged.
            UnavailableError: the store does not answer.
        """
        file_name(role, version)  # Refuses what is no name, also where no file would be opened for it.
        content, found = await self._find(role, version)
        if content is None:
            raise NotFoundError(
                f"Version {version} of '{role}' is not published, or no longer kept."
                if version
                else f"No version of '{role}' is published.",
                reason=Reason.METADATA_NOT_FOUND,
                role=role,
            )
        etag = hashlib.sha256(content).hexdigest()
        return MetadataFile(None if etag == if_none_match else content, found, etag)

    async def target(self, path: str) -> PublishedTarget:
        """What clients learn of a target.

        Raises:
            InvalidRequestError: TARGET_PATH_INVALID.
            NotFoundError: TARGET_NOT_FOUND.
            CorruptStateError: the store is damaged.
            UnavailableError: the store does not answer.
        """
        require_target_path(path)
        bins = await self._bins_now()
        role = bins.role_for(path)
        content, version = await self._find(role, 0)
        if content is not None:
            listing = await asyncio.to_thread(parse_targets, role, version, content)
            found = listing.targets.get(path)
            if found is not None:
                return PublishedTarget(Target(path, found.length, found.hashes), role, version, listing.expires)
        if await self._bins_now() != bins:
            return await self.target(path)  # Bins grew between the two looks.
        raise NotFoundError(f"No target '{path}' is published.", reason=Reason.TARGET_NOT_FOUND, path=path)

    async def _bins_now(self) -> HashBins:
        """The bins as clients see them: they may have grown since the start."""
        published = await self._view.current()
        if published is None:
            return self._bins
        versions = tuple(published.versions.get(role, 0) for role in (TARGETS, INTERMEDIATE_BINS))
        if versions != self._bins_of:
            self._bins = await published_bins(self._store, published.versions) or self._bins
            self._bins_of = versions
        return self._bins

    async def _find(self, role: str, version: int) -> tuple[bytes | None, int]:
        if role == ROOT:
            return await self._root(version)
        published = await self._view.current()
        if published is None or role not in published.versions:
            return None, 0
        current = published.versions[role]
        if role == TIMESTAMP:
            return (published.timestamp if version in (0, current) else None), current
        if version > current:
            # It may lie in the store already, prepared: nobody may see it before the timestamp shows it.
            return None, 0
        content = await self._store.read(role, version or current)
        if content is None and not version:
            raise corrupt(f"{current}.{role}.json", "it is missing, and the published snapshot names it")
        return content, version or current

    async def _root(self, version: int) -> tuple[bytes | None, int]:
        if version:
            return await self._store.read(ROOT, version), version
        # Roots are numbered without gaps and kept for ever (TUF specification 1.0.34, section 6.1).
        newest = await self._store.read(ROOT, self._newest_root)
        while (newer := await self._store.read(ROOT, self._newest_root + 1)) is not None:
            newest = newer
            self._newest_root += 1
        return newest, self._newest_root
