"""Everything at once on four workers, while workers are killed at random: nothing wrong is signed, nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.support.daemon_process import DaemonProcess, place_home, run_cli
from tests.support.load import REPOSITORY, require_one_content_for_each_version
from wharfinger_client import (
    Client,
    OverloadedError,
    RefusedError,
    RetryPolicy,
    Signature,
    SigningItem,
    UnavailableError,
    WharfingerError,
)

FIRST_VERSION = 10
CALL_SECONDS = 60
BATCHED = [f"bins-{number:x}" for number in range(8)]
SINGLE = ["bins-8", "bins-9", "bins-a"]
CONTESTED = "bins-b"
RETRYABLE = (UnavailableError, OverloadedError)
LEAST_OF_EACH = 5
Work = Callable[[Client, random.Random], None]


def metadata(version: int, note: str = "") -> bytes:
    expires = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = {"_type": "targets", "expires": expires, "spec_version": "1.0.31", "targets": {}, "version": version}
    return json.dumps(signed | {"x-note": note}, separators=(",", ":"), sort_keys=True).encode()


@dataclass
class Witness:
    """What callers saw.

    Attributes:
        signed: by role and version, the bytes that were signed, each with the signatures that were given out.
        failures: that are neither retryable nor what had to come.
        counts: of what was done, by kind.
    """

    key: EllipticCurvePublicKey
    signed: dict[tuple[str, int], dict[bytes, set[bytes]]] = field(default_factory=lambda: defaultdict(dict))
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sees(self, items: list[SigningItem], signatures: tuple[Signature, ...]) -> None:
        for item, one in zip(items, signatures, strict=True):
            self.key.verify(one.signature, item.signed, ECDSA(SHA256()))
            assert item.role == one.role
            with self.lock:
                self.signed[one.role, one.version].setdefault(item.signed, set()).add(one.signature)

    def earlier(self, dice: random.Random) -> tuple[str, int, bytes] | None:
        """Something that was signed before."""
        with self.lock:
            if not self.signed:
                return None
            role, version = dice.choice(list(self.signed))
            return role, version, next(iter(self.signed[role, version]))

    def does(self, kind: str, call: Callable[[], object], refused: str = "") -> bool | None:
        """Calls; True when it was done, False when it was refused as it had to be, None when it may be tried again."""
        try:
            call()
        except RETRYABLE as error:
            self.counts[f"{kind}: {error.code}"] += 1
            return None
        except RefusedError as error:
            assert error.reason in refused.split(), f"{kind}: {error}"
            self.counts[f"{kind}: {error.reason}"] += 1
            return False
        self.counts[kind] += 1
        return True


class Callers:
    """What each kind of caller does, over and over again."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._contested = FIRST_VERSION

    def batches(self) -> Work:
        version = FIRST_VERSION

        def work(client: Client, dice: random.Random) -> None:
            nonlocal version
            items = [SigningItem(REPOSITORY, metadata(version), role=role) for role in BATCHED]
            while self._sign("batch", client, items) is None:
                pass
            version += 1

        return work

    def singles(self, role: str) -> Work:
        version = FIRST_VERSION

        def work(client: Client, dice: random.Random) -> None:
            nonlocal version
            items = [SigningItem(REPOSITORY, metadata(version), role=role)]
            while self._sign("single", client, items) is None:
                pass
            version += 1

        return work

    def contestant(self, name: str) -> Work:
        """Wants each version of one role for bytes of its own, as another does at the same time."""

        def work(client: Client, dice: random.Random) -> None:
            version = self._contested
            items = [SigningItem(REPOSITORY, metadata(version, name), role=CONTESTED)]
            while self._sign("contest", client, items, "VERSION_EQUIVOCATION VERSION_ROLLBACK") is None:
                pass
            self._contested = max(self._contested, version + 1)

        return work

    def equivocator(self, client: Client, dice: random.Random) -> None:
        """Wants other bytes signed for a version that was used."""
        found = self._witness.earlier(dice)
        if found is not None:
            role, version, _ = found
            items = [SigningItem(REPOSITORY, metadata(version, f"other {dice.random()}"), role=role)]
            done = self._sign("equivocation", client, items, "VERSION_EQUIVOCATION")
            assert done is not True, f"two contents for version {version} of {role}"

    def replayer(self, client: Client, dice: random.Random) -> None:
        found = self._witness.earlier(dice)
        if found is not None:
            role, _, signed = found
            self._sign("replay", client, [SigningItem(REPOSITORY, signed, role=role)])

    def linter(self, client: Client, dice: random.Random) -> None:
        found = self._witness.earlier(dice)
        if found is not None:
            role, version, signed = found
            items = [SigningItem(REPOSITORY, one, role=role) for one in (signed, metadata(version, "never sent"))]

            def lint() -> None:
                same, other = client.lint(items, timeout=CALL_SECONDS)
                assert same.already_signed
                assert "VERSION_EQUIVOCATION" == other.reason

            self._witness.does("lint", lint)

    def _sign(self, kind: str, client: Client, items: list[SigningItem], refused: str = "") -> bool | None:
        return self._witness.does(
            kind, lambda: self._witness.sees(items, client.sign(items, timeout=CALL_SECONDS)), refused
        )


@pytest.fixture
def busy_daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with four workers and sixteen bins."""
    pristine, place = tmp_path / "pristine", tmp_path / "home"
    made = run_cli("init", "--development", "--home", str(pristine), "--bins", "16")
    assert made.returncode == 0, made.stderr
    daemon = DaemonProcess(place, place_home(pristine, place))
    configuration = place / "config.toml"
    written = configuration.read_text()
    assert 1 == written.count("\n[hsm]\n")
    assert 1 == written.split("\n[hsm]\n")[1].split("\n[")[0].count("workers = 1")
    configuration.write_text(written.replace("workers = 1", "workers = 4", 1))
    try:
        daemon.start()
        yield daemon
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()


@contextmanager
def killing_workers(daemon: DaemonProcess, dice: random.Random) -> Iterator[Counter[str]]:
    """Kills one HSM worker after another, sometimes all at once; yields how many were killed."""
    over, killed = threading.Event(), Counter[str]()

    def work() -> None:
        while not over.wait(dice.uniform(0.05, 1.0)):
            workers = daemon.children()["hsm"]
            for worker in workers if dice.random() < 0.1 else dice.sample(workers, min(1, len(workers))):
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    killed["workers"] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def run_together(daemon: DaemonProcess, works: list[Work], witness: Witness, seconds: float) -> None:
    """Each work over and over again on a thread with a client of its own, which does not retry by itself."""
    until = time.monotonic() + seconds

    def over_and_over(work: Work, seed: int) -> None:
        dice = random.Random(seed)
        try:
            with daemon.client(retry=RetryPolicy(max_attempts=1)) as client:
                while time.monotonic() < until:
                    work(client, dice)
        except (WharfingerError, AssertionError) as error:
            witness.failures.append(repr(error))

    threads = [threading.Thread(target=over_and_over, args=(work, seed)) for seed, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.long)])
def test_under_mixed_load_with_workers_killed_nothing_wrong_is_signed_and_nothing_twice(
    busy_daemon: DaemonProcess, seconds: int
) -> None:
    """Every signature verifies, no version has two contents, no bytes two signatures, and whatever fails may be tried
    again."""
    with busy_daemon.client() as client:
        (key,) = client.list_signing_keys(REPOSITORY)
    public_key = load_pem_public_key(key.public_key_pem.encode())
    assert isinstance(public_key, EllipticCurvePublicKey)
    witness = Witness(public_key)
    callers = Callers(witness)
    works = [callers.batches(), *(callers.singles(role) for role in SINGLE)]
    works += [callers.contestant("one"), callers.contestant("other"), callers.equivocator]
    works += [callers.replayer, callers.linter]
    with killing_workers(busy_daemon, random.Random(3)) as killed:
        run_together(busy_daemon, works, witness, seconds)
    assert [] == witness.failures
    for (role, version), contents in witness.signed.items():
        assert 1 == len(contents), f"two contents of version {version} of {role} were signed"
        for signatures in contents.values():
            assert 1 == len(signatures), f"version {version} of {role} has two signatures over the same bytes"
    require_one_content_for_each_version(busy_daemon)
    require_signatures_on_record(busy_daemon, witness)
    for kind in ("batch", "single", "contest", "equivocation: VERSION_EQUIVOCATION", "replay", "lint"):
        assert witness.counts[kind] >= LEAST_OF_EACH, f"too little happened: {witness.counts}"
    assert killed["workers"] >= LEAST_OF_EACH
    assert 0 == busy_daemon.stop()


def require_signatures_on_record(daemon: DaemonProcess, witness: Witness) -> None:
    """What was given out is what the ledger holds, and will be given out again."""
    database = sqlite3.connect(daemon.home / "wharfinger.db")
    try:
        rows = database.execute(
            "SELECT role, version, signature FROM ledger_entries JOIN ledger_signatures ON entry = ledger_entries.leaf"
        ).fetchall()
    finally:
        database.close()
    recorded = {(role, version): signature for role, version, signature in rows}
    for wanted, contents in witness.signed.items():
        assert [{recorded[wanted]}] == list(contents.values())
