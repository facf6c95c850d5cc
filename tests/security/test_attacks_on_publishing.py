"""Attacks on publishing: callers that race, give up or send what no client would take, an operator's worst day with the
metadata directory, and kill -9 at random. python-tuf is the judge."""

from __future__ import annotations

import random
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.security.attacker import (
    ONCE,
    REPOSITORY,
    code_of,
    doubled_versions,
    ledger_rows,
    raw_channel,
    reason_of,
    target,
)
from tests.support.daemon_process import DaemonProcess, poll
from tests.support.repository import VersionWitness, published_versions, targets_of
from wharfinger.metadata.v1 import metadata_pb2 as wire
from wharfinger.metadata.v1 import metadata_pb2_grpc
from wharfinger_client import Client, ServingStatus, WharfingerError

METADATA_SERVICE = "wharfinger.metadata.v1.MetadataService"
SHA256 = {"sha256": "0" * 64}


@pytest.fixture(scope="module")
def client(shared_daemon: DaemonProcess) -> Iterator[Client]:
    with shared_daemon.client(retry=ONCE) as client:
        yield client


# ---- Requests --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "entry",
    [
        wire.Target(path="n", length=-1, hashes=SHA256),
        wire.Target(path="n", length=-(2**63), hashes=SHA256),
        wire.Target(path="n", length=1),
        wire.Target(path="n", length=1, hashes={"sha256": "A" * 64}),
        wire.Target(path="n", length=1, hashes={"sha256": "٠" * 64}),
        wire.Target(path="n", length=1, hashes={"sha256": "0" * 63 + "\n"}),
        wire.Target(path="n", length=1, hashes=SHA256 | {"md5": "0" * 32}),
        wire.Target(path="n", length=1, hashes={"blake2b-256": "0" * 64}),
        wire.Target(path="n/", length=1, hashes=SHA256),
        wire.Target(path="n\N{CYRILLIC SMALL LETTER A}", length=1, hashes=SHA256),
        wire.Target(path="n" * 100_000, length=1, hashes=SHA256),
    ],
    ids=lambda entry: repr(str(entry))[:60],
)
def test_a_target_that_no_client_would_take_stops_its_whole_request(
    shared_daemon: DaemonProcess, client: Client, entry: wire.Target
) -> None:
    good = wire.Target(path="packages/beside-a-bad-one", length=1, hashes=SHA256)
    request = wire.PublishTargetsRequest(repository=REPOSITORY, add=[good, entry])
    with raw_channel(shared_daemon) as channel:
        publish = metadata_pb2_grpc.MetadataServiceStub(channel).PublishTargets
        assert "INVALID_ARGUMENT" == code_of(lambda: publish(request, timeout=30))
    assert "TARGET_NOT_FOUND" == reason_of(lambda: client.get_target(REPOSITORY, good.path))


def test_paths_that_differ_a_little_are_different_targets(shared_daemon: DaemonProcess, client: Client) -> None:
    """Letter case, a dot, a hash prefix, the longest name: no two of them may become one."""
    names = ["a/b", "A/b", "a/B", "a/b.", "a/b%2f", "a /b", f"{'0' * 64}.b", "a" * 1024, "a" * 1023]
    paths = [name if len(name) > 1000 else f"packages/{name}" for name in names]
    client.publish_targets(REPOSITORY, add=[target(path, path.encode()) for path in paths])
    listed = targets_of(shared_daemon.home / "metadata")
    for path in paths:
        assert dict(target(path, path.encode()).hashes) == listed[path]["hashes"]


def test_thousands_of_targets_in_one_call_are_one_publication(shared_daemon: DaemonProcess, client: Client) -> None:
    before = published_versions(shared_daemon.home / "metadata")["timestamp"]
    result = client.publish_targets(REPOSITORY, add=[target(f"packages/many/{number}") for number in range(5_000)])
    assert before + 1 == result.timestamp_version
    assert sum(path.startswith("packages/many/") for path in targets_of(shared_daemon.home / "metadata")) == 5_000


# ---- Callers ---------------------------------------------------------------------------------------------------------
def test_callers_that_race_for_one_path_leave_it_as_one_of_them_wanted(shared_daemon: DaemonProcess) -> None:
    """Additions and removals of one path at once: all are answered, and clients see the state after one of them."""
    contents = [f"{number}".encode() for number in range(8)]
    witness = VersionWitness(shared_daemon.home / "metadata")

    def race(number: int) -> None:
        with shared_daemon.client() as client:
            for turn in range(4):
                if (number + turn) % 2:
                    client.publish_targets(REPOSITORY, add=[target("packages/raced", contents[number])])
                else:
                    client.publish_targets(REPOSITORY, remove=["packages/raced"])
                witness.look()

    with ThreadPoolExecutor(len(contents)) as threads:
        list(threads.map(race, range(len(contents))))
    seen = targets_of(shared_daemon.home / "metadata").get("packages/raced", {}).get("hashes")
    assert seen in [None] + [dict(target("packages/raced", content).hashes) for content in contents]
    assert [] == doubled_versions(shared_daemon)


def test_callers_that_give_up_at_once_harm_nobody(shared_daemon: DaemonProcess, client: Client) -> None:
    with raw_channel(shared_daemon) as channel:
        publish = metadata_pb2_grpc.MetadataServiceStub(channel).PublishTargets
        calls = []
        for number in range(40):
            entry = wire.Target(path=f"packages/given-up/{number}", length=1, hashes=SHA256)
            request = wire.PublishTargetsRequest(repository=REPOSITORY, add=[entry])
            calls.append(publish.future(request, timeout=0.001 if number % 2 else 30))
        for call in calls:
            call.cancel()
        codes = {code_of(call.result) for call in calls if not call.cancelled()}
    assert codes <= {"OK", "DEADLINE_EXCEEDED", "CANCELLED"}
    client.publish_targets(REPOSITORY, add=[target("packages/after-those-who-gave-up")])
    assert "packages/after-those-who-gave-up" in targets_of(shared_daemon.home / "metadata")
    assert "nobody foresaw" not in shared_daemon.log()


class Crowd:
    """Callers that publish one target after another, each until it is refused."""

    def __init__(self, daemon: DaemonProcess, name: str, size: int) -> None:
        self.acknowledged: set[str] = set()
        self.failures: list[WharfingerError] = []
        self._daemon = daemon
        self._name = name
        self._threads = [threading.Thread(target=self._publish, args=(number,)) for number in range(size)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _publish(self, number: int) -> None:
        with self._daemon.client(retry=ONCE) as client:
            for turn in range(10_000):
                path = f"packages/{self._name}/{number}/{turn}"
                try:
                    client.publish_targets(REPOSITORY, add=[target(path)], timeout=30)
                except WharfingerError as error:
                    self.failures.append(error)
                    return
                self.acknowledged.add(path)


def test_kill_9_under_many_publishers_loses_nothing_that_was_acknowledged(home: DaemonProcess, tmp_path: Path) -> None:
    """Killed at random moments of group commits; after each start, all that was acknowledged is there for python-tuf,
    and no file that ever was visible has changed."""
    dice = random.Random(20)
    witness = VersionWitness(home.home / "metadata")
    acknowledged: set[str] = set()
    for turn in range(3):
        home.start()
        witness.look()
        with Crowd(home, f"crowd-{turn}", 6) as crowd:
            poll(lambda crowd=crowd: bool(crowd.acknowledged), "somebody has published")  # type: ignore[misc]
            threading.Event().wait(dice.uniform(0, 0.4))
            home.kill()
        witness.look()
        acknowledged |= crowd.acknowledged
    home.start()
    witness.look()
    assert acknowledged <= set(targets_of(home.home / "metadata"))
    updater = home.updater(tmp_path)
    assert all(updater.get_targetinfo(path) is not None for path in acknowledged)
    assert [] == doubled_versions(home)


def test_sigterm_under_many_publishers_answers_each_of_them(daemon: DaemonProcess) -> None:
    with Crowd(daemon, "drained", 6) as crowd:
        poll(lambda: len(crowd.acknowledged) > 10, "some have published")
        assert 0 == daemon.stop()
    assert {"UNAVAILABLE"} == {failure.code for failure in crowd.failures}
    assert crowd.acknowledged <= set(targets_of(daemon.home / "metadata"))


# ---- The metadata directory, while the daemon runs -------------------------------------------------------------------
def take_away(daemon: DaemonProcess) -> None:
    (daemon.home / "metadata").rename(daemon.home / "away")


def bring_back(daemon: DaemonProcess) -> None:
    (daemon.home / "away").rename(daemon.home / "metadata")


def damage_timestamp(daemon: DaemonProcess) -> None:
    timestamp = daemon.home / "metadata" / "timestamp.json"
    shutil.copy(timestamp, daemon.home / "timestamp.json")
    timestamp.write_bytes(b"{")


def repair_timestamp(daemon: DaemonProcess) -> None:
    shutil.copy(daemon.home / "timestamp.json", daemon.home / "metadata" / "timestamp.json")


def plant(daemon: DaemonProcess) -> None:
    version = published_versions(daemon.home / "metadata")["snapshot"] + 1
    (daemon.home / "metadata" / f"{version}.snapshot.json").write_bytes(b"planted")


def uproot(daemon: DaemonProcess) -> None:
    (planted,) = [file for file in (daemon.home / "metadata").glob("*.json") if file.read_bytes() == b"planted"]
    planted.unlink()


Harm = Callable[[DaemonProcess], None]
HARMS: dict[str, tuple[Harm, Harm]] = {
    "the directory is gone": (take_away, bring_back),
    "the timestamp is damaged": (damage_timestamp, repair_timestamp),
    "a file is planted where the next version goes": (plant, uproot),
}


@pytest.mark.parametrize("name", HARMS)
def test_harm_to_the_store_is_told_is_not_made_worse_and_passes(
    daemon: DaemonProcess, tmp_path: Path, name: str
) -> None:
    """Publishing fails and health says so; once the harm is undone, all goes on without a restart."""
    harm, undo = HARMS[name]
    witness = VersionWitness(daemon.home / "metadata")
    with daemon.client(retry=ONCE) as client:
        client.publish_targets(REPOSITORY, add=[target("packages/before")])
        witness.look()
        harm(daemon)
        assert "PUBLICATION_FAILED" == reason_of(
            lambda: client.publish_targets(REPOSITORY, add=[target("packages/meanwhile")])
        )
        poll(lambda: client.check_health(METADATA_SERVICE) is ServingStatus.NOT_SERVING, "health says so")
        undo(daemon)
        poll(lambda: client.check_health(METADATA_SERVICE) is ServingStatus.SERVING, "health recovers")
        client.publish_targets(REPOSITORY, add=[target("packages/meanwhile"), target("packages/after")])
    witness.look()
    updater = daemon.updater(tmp_path)
    for moment in ("before", "meanwhile", "after"):
        assert updater.get_targetinfo(f"packages/{moment}") is not None
    assert 0 == daemon.stop()
    assert [] == doubled_versions(daemon)


def test_nothing_is_published_into_a_directory_that_took_the_place_of_the_store(daemon: DaemonProcess) -> None:
    """A volume that is no longer mounted leaves an empty folder: what is put there is lost to clients, and the lock
    that keeps other publishers out is on the folder that was there before."""
    with daemon.client(retry=ONCE) as client:
        client.publish_targets(REPOSITORY, add=[target("packages/before")])
        take_away(daemon)
        (daemon.home / "metadata").mkdir()
        assert "PUBLICATION_FAILED" == reason_of(
            lambda: client.publish_targets(REPOSITORY, add=[target("packages/into-the-void")])
        )
        assert [] == list((daemon.home / "metadata").iterdir())
        (daemon.home / "metadata").rmdir()
        bring_back(daemon)
        poll(
            lambda: reason_of(lambda: client.publish_targets(REPOSITORY, add=[target("packages/after")])) == "",
            "it works",
        )
    assert {"packages/before", "packages/after"} <= set(targets_of(daemon.home / "metadata"))


# ---- Damage that is there before the start ---------------------------------------------------------------------------
DAMAGE: dict[str, tuple[str, bytes | None]] = {
    "timestamp.json is empty": ("metadata/timestamp.json", b""),
    "timestamp.json is gone": ("metadata/timestamp.json", None),
    "the snapshot is damaged": ("metadata/1.snapshot.json", b"{}"),
    "the snapshot is gone": ("metadata/1.snapshot.json", None),
    "the trusted root is another": ("metadata/1.root.json", b"{}"),
    "bins metadata is damaged": ("metadata/1.bins.json", b'{"signatures":[]}'),
    "the database is none": ("wharfinger.db", b"garbage" * 1000),
    "the database is empty": ("wharfinger.db", b""),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_state_stops_the_start_and_is_left_as_it_is(home: DaemonProcess, name: str) -> None:
    path, content = DAMAGE[name]
    damaged = home.home / path
    damaged.unlink() if content is None else damaged.write_bytes(content)
    before = {file.name: file.read_bytes() for file in (home.home / "metadata").glob("*.json")}
    home.start(wait=False)
    assert home.process is not None and home.process.stdout is not None
    with home.process.stdout:
        assert 2 == home.process.wait(60)
    *_, message = home.log().splitlines()
    assert message.startswith("wharfinger: ")
    assert "Traceback" not in home.log()
    assert before == {file.name: file.read_bytes() for file in (home.home / "metadata").glob("*.json")}


# ---- A full disk -----------------------------------------------------------------------------------------------------
def limit_files(daemon: DaemonProcess, most: int) -> None:
    """A file that is longer cannot be written: neither metadata, nor rows, nor the log."""
    assert daemon.process is not None
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def test_a_daemon_that_can_write_nothing_reads_on_loses_nothing_and_recovers(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    with daemon.client(retry=ONCE) as client:
        client.publish_targets(REPOSITORY, add=[target("packages/before")])
        before = ledger_rows(daemon)
        limit_files(daemon, 0)
        for _ in range(3):
            assert "PUBLICATION_FAILED" == reason_of(
                lambda: client.publish_targets(REPOSITORY, add=[target("packages/meanwhile")])
            )
        assert "" == reason_of(lambda: client.get_target(REPOSITORY, "packages/before"))
        limit_files(daemon, resource.RLIM_INFINITY)
        assert before == ledger_rows(daemon)
        client.publish_targets(REPOSITORY, add=[target("packages/after")])
    assert daemon.updater(tmp_path).get_targetinfo("packages/after") is not None
    assert 0 == daemon.stop()
