"""A published repository into which ceremonies' metadata is imported: real signing service, ledger, rows and directory;
keys in memory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import Key, SSlibKey

from tests.support.offline_ceremony import OfflineCeremony
from tests.support.publishing import make_world
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.custody.publication_signer import PublicationSigner
from wharfinger_daemon.errors import Reason, RefusedError
from wharfinger_daemon.keys.importing import ImportedFile, ImportOutcome, MetadataImport
from wharfinger_daemon.keys.importing_authority import ImportAuthority, ImportingRepository
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.metadata.published import published_versions, read_offline_roles
from wharfinger_daemon.metadata.publisher import Publisher, PublisherSettings
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.signing.memory_keys import MemoryKeys
from wharfinger_daemon.signing.model import SigningPolicy
from wharfinger_daemon.signing.service import SigningService
from wharfinger_daemon.signing.standing import KeyState, Standing
from wharfinger_daemon.signing.trust import TrustedRepository, load_trusted_repository
from wharfinger_daemon.storage import schema
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.import_log import JournalImportLog
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory
from wharfinger_daemon.storage.publications import SqlPublications

NAME = "sample"
QUIET = PublisherSettings(renewal_check_seconds=3600, first_retry_seconds=0.01, longest_retry_seconds=0.02)


class OneLine:
    """``KeySuccession`` with one line of all online roles; the states outlive a process in ``states``."""

    def __init__(self, world: ImportWorld, standing: Standing) -> None:
        self._world = world
        self._standing = standing
        self.problem: str | None = None

    def problems(self, trusted: TrustedRepository) -> Sequence[str]:
        return () if self.problem is None else (self.problem,)

    async def adopt(self, repository: str) -> None:
        for keyid in self._listed():
            self._world.states.setdefault(keyid, KeyState.PUBLISHED)
        self._tell()

    async def succeed(self, repository: str, *, caller: str) -> None:
        states, listed = self._world.states, self._listed()
        if not any(states[keyid] is KeyState.ACTIVE for keyid in listed):
            if len(listed) != 1:
                raise RefusedError("There is not one successor.", reason=Reason.KEYID_REQUIRED)
            states.update({keyid: KeyState.RETIRING for keyid in states if states[keyid] is KeyState.ACTIVE})
            states[listed[0]] = KeyState.ACTIVE
        self._tell()

    def _listed(self) -> list[str]:
        moment = self._standing.now
        authority = moment.repository(NAME).authority("timestamp")
        return [key.keyid for key in authority.keys.values() if key.der in moment.held]

    def _tell(self) -> None:
        self._standing.set_key_states(NAME, self._world.states)


class Process:
    """What a daemon has open: gone when it is killed."""

    def __init__(self, world: ImportWorld, around: Any = lambda part: part) -> None:
        self.world = world
        self.database = Database(f"sqlite:///{world.folder / 'rows.db'}")
        schema.metadata.create_all(self.database.engine)
        self.journal = Journal(self.database)
        self.directory = MetadataDirectory(world.metadata)
        self.store: MetadataStore = around(self.directory)
        self.records = around(SqlPublications(self.database, world.pin))
        self.keys = MemoryKeys(world.private_keys)
        self._around = around

    async def open(self, settings: PublisherSettings = QUIET) -> None:
        """As a daemon starts; the publisher is not started."""
        world = self.world
        trusted = await load_trusted_repository(NAME, world.pin, await including_staged(self.store), world.clock)
        self.standing = Standing([trusted])
        self.standing.set_key_states(NAME, world.states)
        self.service = SigningService(self.standing, SqlLedger(self.journal), self.keys, SigningPolicy(), world.clock)
        await self.service.verify_keys_held()
        await self.service.verify_ledger(NAME, await published_versions(self.store))
        self.succession = OneLine(world, self.standing)
        self.authority = ImportAuthority(
            ImportingRepository(NAME, world.pin, self.store),
            self.standing,
            self.service,
            self.succession,
            world.clock,
        )
        self.signer = PublicationSigner(self.service, NAME)
        self.repository = Repository(
            await read_offline_roles(await including_staged(self.store)),
            self.records,
            self.store,
            self._around(self.signer),
            world.clock,
        )
        self.publisher = Publisher(self.repository, settings, self.authority)
        log = self._around(JournalImportLog(self.journal))
        self.imports = MetadataImport([self.authority], {NAME: self.publisher}, log, world.clock)

    async def take(self, *files: tuple[str, bytes], revoke: bool = False, dry_run: bool = False) -> ImportOutcome:
        """Imports as the security team would."""
        brought = [ImportedFile(*file) for file in files]
        return await self.imports.take(NAME, brought, caller="security", revoke=revoke, dry_run=dry_run)

    def activate(self, key: Key) -> None:
        """Has another key sign from now on, as the life of keys would."""
        states = self.world.states
        states.update({keyid: KeyState.RETIRING for keyid in states if states[keyid] is KeyState.ACTIVE})
        states[key.keyid] = KeyState.ACTIVE
        self.standing.set_key_states(NAME, states)
        self.publisher.look_again()

    def close(self) -> None:
        self.database.close()


class ImportWorld:
    """What outlives a process."""

    def __init__(self, folder: Path, private_keys: list[ec.EllipticCurvePrivateKey]) -> None:
        self.folder = folder
        self.clock = FixedClock(datetime.now(UTC))
        self.private_keys = private_keys
        self.states: dict[str, KeyState] = {self.keys[0].keyid: KeyState.ACTIVE}
        self.ceremony = OfflineCeremony(self.metadata, folder / "ceremony")

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    @property
    def pin(self) -> str:
        return hashlib.sha256((self.metadata / "1.root.json").read_bytes()).hexdigest()

    @property
    def keys(self) -> list[Key]:
        return [SSlibKey.from_crypto(key.public_key()) for key in self.private_keys]

    def copy(self, folder: Path) -> ImportWorld:
        shutil.copytree(self.folder, folder)
        world = ImportWorld(folder, self.private_keys)
        world.states = dict(self.states)
        return world

    @contextmanager
    def process(self, around: Any = lambda part: part) -> Iterator[Process]:
        """A process that may be killed."""
        process = Process(self, around)
        try:
            yield process
        finally:
            process.close()


async def make_import_world(folder: Path, *, bins: int = 4, keys: int = 3) -> ImportWorld:
    """After the ceremony that lists the first key; the token has some more."""
    private_keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(keys)]
    public = private_keys[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    made = await make_world(folder, bins=bins, online_public_key=public)
    made.close()
    return ImportWorld(folder, private_keys)
