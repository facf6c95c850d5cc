"""What python-tuf's client pays for 16,384 bins: processor time and bytes, for a new client and for one that returns.

PEP 458 estimates for its repository (2.2 million targets, downloads of 2.2 MB on average): 69 % of a download for a new
client, 5 % for one that returns to the same snapshot, 9 % to another one. Here the bin that is read lists one target.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tuf.ngclient import Updater

from bench.table import Costs
from tests.support.daemon_process import DaemonProcess, place_home, run_cli
from tests.support.ngclient_directory import DirectoryFetcher
from wharfinger_client import Target

_BINS = 16_384
_PATH = "packages/00/example-1.0.whl"
# The average download of PEP 458's tables, in bytes.
_DOWNLOAD = 2_184_393


class _CountingFetcher(DirectoryFetcher):
    """Counts bytes, as they are and as gzip."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.contents: list[bytes] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        for content in super()._fetch(url):
            self.contents.append(content)
            yield content


def run(rounds: int) -> Costs:
    """Measures, and returns microseconds of the processor."""
    with tempfile.TemporaryDirectory(prefix="wharfinger-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        daemon = stack.enter_context(_daemon(folder))
        metadata = daemon.home / "metadata"
        times: dict[str, list[float]] = {}
        sizes: dict[str, tuple[int, int]] = {}
        for number in range(rounds):
            place = folder / f"client-{number}"
            _measure("a new client", metadata, place, times, sizes)
            _measure("again, the same snapshot", metadata, place, times, sizes)
            with daemon.client() as client:
                client.publish_targets("development", add=[_target(_PATH, number)])
            _measure("again, another snapshot", metadata, place, times, sizes)
        snapshot = max(metadata.glob("*.snapshot.json"), key=lambda file: int(file.name.partition(".")[0]))
        floor = _microseconds(lambda: hashlib.sha256(snapshot.read_bytes()).digest(), rounds)
    costs = Costs(
        f"Refreshing from {_BINS:,} bins: the processor's time",
        {"SHA-256 of the snapshot": floor},
        {name: statistics.median(some) for name, some in times.items()},
    )
    for name, (plain, packed) in sizes.items():
        share = f"{100 * plain / _DOWNLOAD:.0f} % and {100 * packed / _DOWNLOAD:.0f} % of an average download"
        costs.notes.append(f"{name}: {plain:,} bytes, {packed:,} as gzip: {share}")
    return costs


def _measure(
    name: str, metadata: Path, place: Path, times: dict[str, list[float]], sizes: dict[str, tuple[int, int]]
) -> None:
    place.mkdir(exist_ok=True)
    fetcher = _CountingFetcher(metadata)
    begun = time.process_time()
    updater = Updater(
        str(place),
        "http://directory/",
        fetcher=fetcher,
        bootstrap=(metadata / "1.root.json").read_bytes(),
    )
    updater.refresh()
    assert updater.get_targetinfo(_PATH) is not None
    times.setdefault(name, []).append((time.process_time() - begun) * 1e6)
    packed = sum(len(gzip.compress(content, 6)) for content in fetcher.contents)
    sizes[name] = sum(map(len, fetcher.contents)), packed


def _microseconds(work: Callable[[], object], rounds: int) -> float:
    begun = time.process_time()
    for _ in range(rounds):
        work()
    return (time.process_time() - begun) * 1e6 / rounds


@contextlib.contextmanager
def _daemon(folder: Path) -> Iterator[DaemonProcess]:
    pristine, home = folder / "pristine", folder / "home"
    made = run_cli("init", "--development", "--home", str(pristine), "--bins", str(_BINS))
    assert made.returncode == 0, made.stderr
    daemon = DaemonProcess(home, place_home(pristine, home))
    daemon.start()
    try:
        with daemon.client() as client:
            client.publish_targets("development", add=[_target(_PATH, -1)])
        yield daemon
    finally:
        daemon.kill()


def _target(path: str, number: int) -> Target:
    return Target(path, 123_456, {"sha256": hashlib.sha256(str(number).encode()).hexdigest()})
