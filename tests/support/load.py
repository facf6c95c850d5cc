"""Publishers and clients that never rest, around a real daemon."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import Key, SSlibKey
from tuf.api.exceptions import DownloadError, RepositoryError

from tests.support.daemon_process import DaemonProcess, poll, run_cli
from wharfinger_client import Target, WharfingerError

REPOSITORY = "development"
ALWAYS = "packages/always.tar.gz"


def target(path: str) -> Target:
    return Target(path, 1, {"sha256": hashlib.sha256(path.encode()).hexdigest()})


@dataclass
class Load:
    """What goes on around a daemon, and what went wrong with it.

    Attributes:
        acknowledged: paths whose publication was acknowledged.
        refused: publications that failed beyond the client's retries.
        unverified: refreshes that met what does not verify, with the moment at which they began and ended.
        unreachable: refreshes that met no daemon.
        rounds: how many refreshes each client finished.
    """

    daemon: DaemonProcess
    folder: Path
    acknowledged: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    unverified: list[tuple[float, float, str]] = field(default_factory=list)
    unreachable: int = 0
    rounds: dict[str, int] = field(default_factory=lambda: {"fresh": 0, "long-lived": 0})
    _stop: threading.Event = field(default_factory=threading.Event)
    _errors: list[BaseException] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs until the block ends."""
        works = (self._publish, lambda: self._refresh("fresh"), lambda: self._refresh("long-lived"))
        threads = [threading.Thread(target=self._guarded, args=(work,)) for work in works]
        with self.daemon.client() as client:
            client.publish_targets(REPOSITORY, add=[target(ALWAYS)])
        for thread in threads:
            thread.start()
        try:
            yield
            self.settle()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        assert [] == self._errors

    def settle(self) -> None:
        """Waits until each client has begun and finished a refresh after this moment, and something was published."""
        before, published = dict(self.rounds), len(self.acknowledged)
        poll(
            lambda: (
                all(self.rounds[name] >= before[name] + 2 for name in before) and len(self.acknowledged) > published
            ),
            "clients refresh and targets are published",
            120,
        )

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # Is raised again where the test can see it.
            self._errors.append(error)

    def _publish(self) -> None:
        with self.daemon.client() as client:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                path = f"packages/load-{number}.tar.gz"
                try:
                    client.publish_targets(REPOSITORY, add=[target(path)], timeout=30)
                    self.acknowledged.add(path)
                except WharfingerError as error:
                    self.refused.append(f"{path}: {error}")

    def _refresh(self, name: str) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            place = self.folder / (name if name == "long-lived" else f"{name}-{number}")
            began = time.monotonic()
            try:
                assert self.daemon.updater(place).get_targetinfo(ALWAYS) is not None
            except DownloadError:
                self.unreachable += 1
                time.sleep(0.05)
            except RepositoryError as error:
                self.unverified.append((began, time.monotonic(), f"{name}: {type(error).__name__}: {error}"))
            self.rounds[name] += 1


class Administrator:
    """The security team at its terminal.

    Args:
        again: is set while a command that could not be done may be tried once more; None if it must work at once.
    """

    def __init__(self, daemon: DaemonProcess, again: threading.Event | None = None) -> None:
        self._daemon = daemon
        self._again = again

    def does(self, *arguments: str) -> Any:
        """Runs a command; returns its JSON."""
        deadline = time.monotonic() + 180
        while True:
            done = run_cli(*arguments, "--json", home=self._daemon.home)
            if done.returncode == 0:
                return json.loads(done.stdout)
            assert self._again is not None and time.monotonic() < deadline, f"{arguments}: {done.stderr}"
            assert self._again.wait(120)

    def refused(self, *arguments: str) -> str:
        """Runs a command that must fail; returns what it says."""
        done = run_cli(*arguments, home=self._daemon.home)
        assert 2 == done.returncode, done.stdout + done.stderr
        return done.stderr

    def brings(self, *files: tuple[str, bytes], options: tuple[str, ...] = ()) -> Any:
        """Imports what a ceremony made."""
        folder = self._daemon.home / "brought"
        folder.mkdir(exist_ok=True)
        for name, content in files:
            (folder / name).write_bytes(content)
        return self.does("root", "import", *options, *(str(folder / name) for name, _ in files))

    def generates(self) -> Key:
        """A new key in the token, beside the running daemon."""
        return key_of(self.does("keys", "generate", "online"))

    def active(self) -> str:
        """The keyid of the key that signs."""
        [keyid] = [key["keyid"] for key in self.keys() if key["state"] == "active"]
        return str(keyid)

    def keys(self) -> list[Any]:
        """All keys."""
        listed = self.does("keys", "list")
        found: list[Any] = listed["keys"] if isinstance(listed, dict) else listed
        return found

    def key(self, keyid: str) -> Any:
        """One key."""
        return self.does("keys", "show", keyid)


def key_of(said: Any) -> Key:
    """The TUF key of which a command told."""
    return SSlibKey.from_crypto(load_pem_public_key(said["public_key_pem"].encode()))  # type: ignore[arg-type]


def require_one_content_for_each_version(daemon: DaemonProcess) -> None:
    """What the ledger promises, read from its rows."""
    database = sqlite3.connect(daemon.home / "wharfinger.db")
    try:
        doubled = database.execute(
            "SELECT role, version FROM ledger_entries GROUP BY repository, epoch, role, version HAVING COUNT(*) > 1"
        ).fetchall()
    finally:
        database.close()
    assert [] == doubled


def published_targets(daemon: DaemonProcess, place: Path, wanted: set[str]) -> set[str]:
    """Those of some paths that a client that knows root 1 alone finds."""
    updater = daemon.updater(place)
    return {path for path in wanted if updater.get_targetinfo(path) is not None}


@contextmanager
def assassin(daemon: DaemonProcess, seed: int) -> Iterator[threading.Event]:
    """Kills the daemon at random moments, and starts it again, until the block ends; the event says when it runs."""
    dice, over, alive = random.Random(seed), threading.Event(), threading.Event()
    failures: list[BaseException] = []
    alive.set()

    def work() -> None:
        try:
            while not over.wait(dice.uniform(0.3, 6)):
                alive.clear()
                daemon.kill()
                daemon.start()
                alive.set()
        except BaseException as error:  # noqa: BLE001  # Is raised again where the test can see it.
            failures.append(error)
            alive.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield alive
    finally:
        over.set()
        thread.join()
    assert [] == failures
