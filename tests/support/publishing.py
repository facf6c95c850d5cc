"""A repository from a development ceremony, ready to be published: real rows in SQLite, and parts to choose."""

from __future__ import annotations

import copy
import hashlib
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import CryptoSigner

from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.ceremony import create_development_repository
from wharfinger_daemon.metadata.memory_signer import CredulousAuthority, MemorySigner
from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.metadata.publisher import Publisher, PublisherSettings
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.storage import schema
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory
from wharfinger_daemon.storage.publications import SqlPublications

EAGER = PublisherSettings(renewal_check_seconds=0.02, first_retry_seconds=0.01, longest_retry_seconds=0.02)
ROOT_PIN = "0" * 64


def target(path: str, content: bytes = b"content") -> Target:
    """A target with this content."""
    return Target(path, len(content), {"sha256": hashlib.sha256(content).hexdigest()})


class PublishingWorld:
    """Everything that outlives a publisher: the folder with ceremony and rows, the store, the signer and its ledger."""

    def __init__(self, folder: Path, clock: FixedClock, store: MetadataStore, signer: MemorySigner) -> None:
        self.folder = folder
        self.clock = clock
        self.store = store
        self.signer = signer
        self.database = Database(f"sqlite:///{folder / 'rows.db'}")
        schema.metadata.create_all(self.database.engine)
        self.records = SqlPublications(self.database, ROOT_PIN)

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    def close(self) -> None:
        self.database.close()

    async def repository(self, **parts: Any) -> Repository:
        repository = Repository(await read_offline_roles(self.store), self.records, self.store, self.signer, self.clock)
        return replace(repository, **parts)

    async def publisher(self, settings: PublisherSettings = EAGER, **parts: Any) -> Publisher:
        return Publisher(await self.repository(**parts), settings, CredulousAuthority(self.store))

    def copy(self, folder: Path) -> PublishingWorld:
        """The same state, in another folder; only where the store is a directory."""
        self.database.engine.dispose()
        shutil.copytree(self.folder, folder)
        signer = copy.copy(self.signer)
        signer.signers, signer.signed, signer.made = (
            dict(self.signer.signers),
            dict(self.signer.signed),
            dict(self.signer.made),
        )
        return PublishingWorld(folder, FixedClock(self.clock.now()), MetadataDirectory(folder / "metadata"), signer)


async def make_world(
    folder: Path,
    *,
    bins: int | HashBins = 4,
    in_memory: bool = False,
    instant: datetime | None = None,
    online_public_key: bytes | None = None,
) -> PublishingWorld:
    """After the ceremony, before the first publication. Time stands still at this moment, or at ``instant``.

    The world's own signer has the online key, unless ``online_public_key`` names that of another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata").mkdir()
    online = CryptoSigner.generate_ecdsa()
    store: MetadataStore = MemoryStore() if in_memory else MetadataDirectory(folder / "metadata")
    clock = FixedClock(instant or datetime.now(UTC))
    await create_development_repository(
        ceremony_directory=folder / "ceremony",
        online_public_key=online_public_key or public_key_of(online),
        bins=bins if isinstance(bins, HashBins) else HashBins.of_number(bins),
        clock=clock,
        store=store,
    )
    return PublishingWorld(folder, clock, store, MemorySigner(online))


def public_key_of(signer: CryptoSigner) -> bytes:
    """As DER SubjectPublicKeyInfo."""
    pem = signer.public_key.keyval["public"].encode()
    return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs."""


class Boundaries:
    """Counts the calls that go through its parts, and ends the process before or after one of them.

    Args:
        at: the number of the call, from 0; a negative number ends nothing.
    """

    def __init__(self, at: int, *, after: bool) -> None:
        self.calls: list[str] = []
        self._at = at
        self._after = after

    def around(self, part: Any) -> Any:
        return _Part(part, self)

    async def call(self, name: str, method: Any, arguments: Any, options: Any) -> Any:
        number = len(self.calls)
        self.calls.append(name)
        if number > self._at >= 0:
            raise Killed(name)
        if number == self._at and not self._after:
            raise Killed(name)
        result = await method(*arguments, **options)
        if number == self._at:
            raise Killed(name)
        return result


class _Part:
    def __init__(self, part: Any, boundaries: Boundaries) -> None:
        self._part = part
        self._boundaries = boundaries

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await self._boundaries.call(name, method, arguments, options)

        return call


async def close_quietly(publisher: Publisher) -> None:
    """Closes a publisher that may have been killed."""
    with suppress(Killed):
        await publisher.close()
