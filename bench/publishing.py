"""Publishing: 100 uploads made visible durably, against the floor, python-tuf's objects, and RSTUF's algorithm.

The repository has 16,384 bins, so that snapshot and role states have their size in production; 256 of them are as full
as 20 million targets make them, 1,221 each, and all uploads go there. The daemon's own parts run in this process: rows
in SQLite, the signing service with its ledger and log, a SoftHSM worker, a directory.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path

from bench import processes
from bench.floors import floor
from bench.in_process import open_repository
from bench.publishing_peers import Peers
from bench.table import Aim, Costs, Report
from bench.uploads import BINS, Uploads
from tests.support.daemon_process import run_cli
from wharfinger_daemon import config
from wharfinger_daemon.metadata.memory_signer import CredulousAuthority
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.publisher import Publisher, PublisherSettings
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.targets import Target

FULL_BINS = frozenset(itertools.islice(BINS.roles(), 256))
TARGETS_OF_A_BIN = 1_221
UPLOADS = 100
SINGLES = 40
PUBLISHERS, EACH = 50, 6


def run(rounds: int) -> Report:
    """Measures, and returns costs by the clock."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder) / "home"
        made = run_cli("init", "--development", "--home", str(home), "--bins", str(BINS.number))
        assert made.returncode == 0, made.stderr
        uploads = Uploads(FULL_BINS)
        _fill(home, uploads)
        return asyncio.run(measure(home, uploads, rounds, hsm(home, stack), FULL_BINS))


def hsm(home: Path, stack: ExitStack) -> Callable[[int], float]:
    """Seconds that the module of a home takes for so many signatures, driven directly."""
    processes.generate_peer_key(home)
    direct = stack.enter_context(processes.direct(home))
    return lambda count: direct.ask(count=count)["signing"]


async def measure(
    home: Path, uploads: Uploads, rounds: int, signed: Callable[[int], float], renew: frozenset[str] = frozenset()
) -> Report:
    """Publishes uploads on a home.

    Args:
        renew: bins to publish first, because their rows were changed behind the publisher's back.
    """
    async with AsyncExitStack() as stack:
        repository = (await open_repository(home, stack)).repository
        await repository.publish(Change(), renew)
        peers = Peers(home)
        times: dict[str, list[float]] = {}
        parts: dict[str, list[float]] = {}
        for _ in range(rounds):
            targets = uploads.take(UPLOADS)
            before = {role: state.version for role, state in (await repository.records.states()).items()}
            begun = time.perf_counter()
            publication = await repository.publish(Change({one.path: one for one in targets}))
            times.setdefault("ours", []).append(time.perf_counter() - begun)
            files = [(await repository.store.read(role, version)) or b"" for role, version in publication.bins.items()]
            files.append((await repository.store.read("snapshot", publication.snapshot_version)) or b"")
            for name, seconds in floor(files, signed, home / "floor").items():
                parts.setdefault(name, []).append(seconds)
            times.setdefault("python-tuf's objects", []).append(peers.python_tuf(targets, before))
            times.setdefault("RSTUF's algorithm", []).append(peers.rstuf(targets, before))
        singles = [await _one(repository, uploads) for _ in range(SINGLES)]
        crowd = await _crowd(repository, uploads)
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


async def _one(repository: Repository, uploads: Uploads) -> float:
    [target] = uploads.take(1)
    begun = time.perf_counter()
    await repository.publish(Change({target.path: target}))
    return time.perf_counter() - begun


async def _crowd(repository: Repository, uploads: Uploads) -> tuple[float, float]:
    """Uploads a second, and how many share a publication, when many publish one after another each."""
    publisher = Publisher(repository, PublisherSettings(), CredulousAuthority(repository.store))
    await publisher.start()
    versions: set[int] = set()

    async def publishes(targets: Sequence[Target]) -> None:
        for target in targets:
            versions.add((await publisher.publish([target], [], timeout_seconds=120)).timestamp_version)

    shares = [uploads.take(EACH) for _ in range(PUBLISHERS)]
    begun = time.perf_counter()
    await asyncio.gather(*map(publishes, shares))
    seconds = time.perf_counter() - begun
    await publisher.close()
    return PUBLISHERS * EACH / seconds, PUBLISHERS * EACH / len(versions)


def _fill(home: Path, uploads: Uploads) -> None:
    listed = uploads.take(len(FULL_BINS) * TARGETS_OF_A_BIN)
    [repository] = [one.root_sha256 for one in config.load(home / "config.toml").repositories]
    with closing(sqlite3.connect(home / "wharfinger.db")) as database, database:
        database.executemany(
            "INSERT INTO targets (repository, path, bin, length, hashes) VALUES (?, ?, ?, ?, ?)",
            (
                (repository, one.path, BINS.role_for(one.path), one.length, json.dumps(dict(one.hashes)))
                for one in listed
            ),
        )
