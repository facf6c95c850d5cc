"""A process that publishes, all of it real but the token: SQLite rows and ledger, the signing service, a directory.

    python -m tests.support.publishing_process FOLDER publish    publishes one target after another until it is killed
    python -m tests.support.publishing_process FOLDER finish     starts, and stops in order

FOLDER holds ``metadata/`` after the ceremony, and ``online.pem``. Each path is told on standard output once its
publication was acknowledged.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.publishing import target
from wharfinger_daemon.clock import Clock, SystemClock
from wharfinger_daemon.custody.publication_signer import PublicationSigner
from wharfinger_daemon.metadata.memory_signer import CredulousAuthority
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.metadata.published import published_versions, read_offline_roles
from wharfinger_daemon.metadata.publisher import Publisher, PublisherSettings
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.retention import Retention, RetentionSettings, Sweeper
from wharfinger_daemon.signing.memory_keys import MemoryKeys
from wharfinger_daemon.signing.model import SigningPolicy
from wharfinger_daemon.signing.service import SigningService
from wharfinger_daemon.signing.standing import Standing
from wharfinger_daemon.signing.trust import load_trusted_repository
from wharfinger_daemon.storage import schema
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory
from wharfinger_daemon.storage.publication_history import SqlPublicationHistory
from wharfinger_daemon.storage.publications import SqlPublications

NAME = "sample"


async def signing_of(folder: Path, store: MetadataStore, database: Database, clock: Clock) -> SigningService:
    """The signing service of this repository, after the checks of a start."""
    key = load_pem_private_key((folder / "online.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    root = await store.read("root", 1)
    assert root is not None
    trusted = await load_trusted_repository(NAME, hashlib.sha256(root).hexdigest(), store, clock)
    service = SigningService(
        Standing([trusted]), SqlLedger(Journal(database)), MemoryKeys([key]), SigningPolicy(), clock
    )
    await service.verify_keys_held()
    await service.verify_ledger(NAME, await published_versions(store))
    return service


async def publisher_of(folder: Path, database: Database) -> Publisher:
    """A publisher that has not started."""
    clock = SystemClock()
    store = MetadataDirectory(folder / "metadata")
    service = await signing_of(folder, store, database, clock)
    repository = Repository(
        await read_offline_roles(store),
        SqlPublications(database, "0" * 64),
        store,
        PublicationSigner(service, NAME),
        clock,
    )
    # It sweeps all the time, what has just gone out of use.
    history = SqlPublicationHistory(database, "0" * 64)
    settings = RetentionSettings(timedelta(seconds=0.2), interval_seconds=0.05, files_at_once=3)
    sweeper = Sweeper(Retention(store, history, clock, settings, repository.observer))
    return Publisher(repository, PublisherSettings(), CredulousAuthority(store), sweeper)


async def main(folder: Path, what: str) -> None:
    with closing(Database(f"sqlite:///{folder / 'rows.db'}")) as database:
        schema.metadata.create_all(database.engine)
        publisher = await publisher_of(folder, database)
        await publisher.start()
        print("started", flush=True)
        first = (await publisher.publish([], [], timeout_seconds=60)).timestamp_version
        number = 0
        while what == "publish":
            number += 1
            paths = [f"packages/{first}/{number}/{part}.whl" for part in range(3)]
            await publisher.publish([target(path) for path in paths], [], timeout_seconds=60)
            print(" ".join(paths), flush=True)
        await publisher.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
