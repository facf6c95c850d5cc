"""Publishing: 100 uploads made visible durably, against the floor, python-tuf's objects, and RSTUF's algorithm.

The repository has 16,384 bins, so that snapshot and role states have their size in production; 256 of them are as full
as 20 million targets make them, 1,221 each, and all uploads go there. The daemon's own parts run in this process: rows
in SQLite, the signing service with its ledger and log, a SoftHSM worker, a directory. The peers sign with a key in
memory, which is cheaper.

What RSTUF does is written down from its description: for each touched bin it reads the newest file, takes all rows of
the bin, makes objects of them, signs, and writes JSON with an indentation.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from bench import processes
from bench.table import Aim, Costs, Report
from tests.support.daemon_process import run_cli
from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.signing import open_signing
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.custody.publication_signer import PublicationSigner
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.memory_signer import CredulousAuthority
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.metadata.publisher import Publisher, PublisherSettings
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory
from wharfinger_daemon.storage.publications import SqlPublications
from wharfinger_daemon.telemetry import Metrics

BINS = HashBins(14)
FULL_BINS = frozenset(itertools.islice(BINS.roles(), 256))
TARGETS_OF_A_BIN = 1_221
UPLOADS = 100
SINGLES = 40
PUBLISHERS, EACH = 50, 6

_numbers = itertools.count()


def run(rounds: int) -> Report:
    """Measures, and returns costs by the clock."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder) / "home"
        made = run_cli("init", "--development", "--home", str(home), "--bins", str(BINS.number))
        assert made.returncode == 0, made.stderr
        processes.generate_peer_key(home)
        direct = stack.enter_context(processes.direct(home))

        def signed(count: int) -> float:
            return direct.ask(count=count)["signing"]

        return asyncio.run(_measure(home, rounds, signed))


async def _measure(home: Path, rounds: int, signed: Callable[[int], float]) -> Report:
    settings, clock = config.load(home / "config.toml"), SystemClock()
    assert settings.metadata is not None
    configured = settings.repository(settings.metadata.repository)
    _fill(home / "wharfinger.db", configured.root_sha256)
    async with AsyncExitStack() as stack:
        database = stack.enter_context(closing(Database.of(settings.database)))
        signing = await open_signing(settings, database, clock, Metrics(), stack)
        store = MetadataDirectory(configured.metadata_directory)
        repository = Repository(
            await read_offline_roles(store),
            SqlPublications(database, configured.root_sha256, signing.journal),
            store,
            PublicationSigner(signing.service, configured.name, timeout_seconds=120),
            clock,
        )
        await repository.publish(Change(), FULL_BINS)
        peers = Peers(configured.metadata_directory, home / "wharfinger.db", home / "peers")
        times: dict[str, list[float]] = {}
        parts: dict[str, list[float]] = {}
        for _ in range(rounds):
            targets = _uploads(UPLOADS)
            before = {role: state.version for role, state in (await repository.records.states()).items()}
            begun = time.perf_counter()
            publication = await repository.publish(Change({one.path: one for one in targets}))
            times.setdefault("ours", []).append(time.perf_counter() - begun)
            files = [(await store.read(role, version)) or b"" for role, version in publication.bins.items()]
            files.append((await store.read("snapshot", publication.snapshot_version)) or b"")
            for name, seconds in _floor(files, signed, home / "floor").items():
                parts.setdefault(name, []).append(seconds)
            times.setdefault("python-tuf's objects", []).append(peers.python_tuf(targets, before))
            times.setdefault("RSTUF's algorithm", []).append(peers.rstuf(targets, before))
        singles = [await _one(repository) for _ in range(SINGLES)]
        crowd = await _crowd(repository)
    return _report(times, parts, singles, crowd)


def _report(
    times: dict[str, list[float]], parts: dict[str, list[float]], singles: Sequence[float], crowd: tuple[float, float]
) -> Report:
    best = {name: min(some) * 1e6 for name, some in times.items()}
    rate, together = crowd
    many = Costs(
        f"{UPLOADS} uploads in one publication, durable; best of {len(times['ours'])} interleaved rounds",
        {name: min(some) * 1e6 for name, some in parts.items()},
        best,
        [
            f"One upload alone: p50 {statistics.median(singles) * 1e3:.0f} ms, "
            f"p99 {statistics.quantiles(singles, n=100)[98] * 1e3:.0f} ms ({len(singles)} of them).",
            f"{PUBLISHERS} publishers at once: {rate:.0f} uploads a second, {together:.1f} in a publication.",
        ],
    )
    aims = [
        Aim("100 uploads, of the floor", many.ratio("ours"), 2, at_least=False),
        Aim("faster than python-tuf's objects", best["python-tuf's objects"] / best["ours"], 10),
        Aim("faster than RSTUF's algorithm", best["RSTUF's algorithm"] / best["ours"], 25),
    ]
    return Report([many], aims)


async def _one(repository: Repository) -> float:
    [target] = _uploads(1)
    begun = time.perf_counter()
    await repository.publish(Change({target.path: target}))
    return time.perf_counter() - begun


async def _crowd(repository: Repository) -> tuple[float, float]:
    """Uploads a second, and how many share a publication, when many publish one after another each."""
    publisher = Publisher(repository, PublisherSettings(), CredulousAuthority(repository.store))
    await publisher.start()
    versions: set[int] = set()

    async def publishes(targets: Sequence[Target]) -> None:
        for target in targets:
            versions.add((await publisher.publish([target], [], timeout_seconds=120)).timestamp_version)

    uploads = [_uploads(EACH) for _ in range(PUBLISHERS)]
    begun = time.perf_counter()
    await asyncio.gather(*map(publishes, uploads))
    seconds = time.perf_counter() - begun
    await publisher.close()
    return PUBLISHERS * EACH / seconds, PUBLISHERS * EACH / len(versions)


class Peers:
    """Other ways to do the same. They read our files, and write into a folder of their own.

    Args:
        metadata: where our files are.
        rows: our database, which is read as RSTUF reads its own.
    """

    def __init__(self, metadata: Path, rows: Path, folder: Path) -> None:
        self._metadata = metadata
        self._rows = rows
        self._folder = folder
        self._signer = CryptoSigner.generate_ecdsa()
        folder.mkdir()

    def python_tuf(self, targets: Sequence[Target], versions: dict[str, int]) -> float:
        """Objects of each touched bin, of the snapshot and of the timestamp; seconds."""
        begun = time.perf_counter()
        for role, some in _by_bin(targets).items():
            metadata = Metadata[Targets].from_file(str(self._metadata / f"{versions[role]}.{role}.json"))
            for one in some:
                metadata.signed.targets[one.path] = TargetFile(one.length, dict(one.hashes), one.path)
            self._write(metadata, role, JSONSerializer(compact=True))
        self._finish(versions, JSONSerializer(compact=True))
        return time.perf_counter() - begun

    def rstuf(self, targets: Sequence[Target], versions: dict[str, int]) -> float:
        """The same with all rows of each bin, made into objects, and with an indentation; seconds."""
        begun = time.perf_counter()
        with closing(sqlite3.connect(f"file:{self._rows}?mode=ro", uri=True)) as rows:
            for role in _by_bin(targets):
                metadata = Metadata[Targets].from_file(str(self._metadata / f"{versions[role]}.{role}.json"))
                listed = rows.execute("SELECT path, length, hashes FROM targets WHERE bin = ?", (role,))
                metadata.signed.targets = {
                    path: TargetFile.from_dict({"length": length, "hashes": json.loads(hashes)}, path)
                    for path, length, hashes in listed
                }
                self._write(metadata, role, JSONSerializer())
        self._finish(versions, JSONSerializer())
        return time.perf_counter() - begun

    def _finish(self, versions: dict[str, int], serializer: JSONSerializer) -> None:
        snapshot = Metadata[Snapshot].from_file(str(self._metadata / f"{versions['snapshot']}.snapshot.json"))
        for meta in snapshot.signed.meta.values():
            meta.version += 1
        self._write(snapshot, "snapshot", serializer)
        timestamp = Metadata[Timestamp].from_file(str(self._metadata / "timestamp.json"))
        timestamp.signed.snapshot_meta.version = snapshot.signed.version
        self._write(timestamp, "timestamp", serializer)

    def _write(self, metadata: Metadata, role: str, serializer: JSONSerializer) -> None:  # type: ignore[type-arg]
        metadata.signed.version += 1
        metadata.sign(self._signer)
        _durable(self._folder / f"{role}.json", metadata.to_bytes(serializer))


def _floor(files: Sequence[bytes], signed: Callable[[int], float], folder: Path) -> dict[str, float]:
    """What cannot be had for less: seconds to hash, sign and write the bytes of one publication."""
    folder.mkdir(exist_ok=True)
    begun = time.perf_counter()
    for content in files:
        hashlib.sha256(content).digest()
    hashed = time.perf_counter()
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(lambda each: _durable(folder / str(each[0]), each[1]), enumerate(files)))
    return {
        "SHA-256": hashed - begun,
        "fsync": time.perf_counter() - hashed,
        "signatures": signed(len(files) + 1),
    }


def _durable(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _by_bin(targets: Sequence[Target]) -> dict[str, list[Target]]:
    bins: dict[str, list[Target]] = {}
    for one in targets:
        bins.setdefault(BINS.role_for(one.path), []).append(one)
    return bins


def _uploads(count: int) -> list[Target]:
    return [Target(path, 123_456, {"sha256": _hash(path)}) for path in itertools.islice(_paths(), count)]


def _paths() -> Iterator[str]:
    """Paths as an index has them, of the bins that are full."""
    for number in _numbers:
        digest = _hash(str(number))
        path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/some_project-1.{number}-py3-none-any.whl"
        if BINS.role_for(path) in FULL_BINS:
            yield path


def _fill(rows: Path, repository: str) -> None:
    listed = itertools.islice(_paths(), len(FULL_BINS) * TARGETS_OF_A_BIN)
    with closing(sqlite3.connect(rows)) as database, database:
        database.executemany(
            "INSERT INTO targets (repository, path, bin, length, hashes) VALUES (?, ?, ?, ?, ?)",
            ((repository, path, BINS.role_for(path), 123_456, json.dumps({"sha256": _hash(path)})) for path in listed),
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
