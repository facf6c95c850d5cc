"""What is pulled, killed or missing: nothing acknowledged is lost, no version is used twice, all recovers."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, poll
from tests.support.repository import VersionWitness, published_versions, targets_of
from wharfinger_client import RetryPolicy, ServingStatus, Target, UnavailableError, WharfingerError

REPOSITORY = "development"


def target(name: str) -> Target:
    return Target(f"packages/{name}.tar.gz", 1, {"sha256": hashlib.sha256(name.encode()).hexdigest()})


def ready(daemon: DaemonProcess) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['http']}/readyz") as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def test_sigterm_drains_and_ends_with_0(daemon: DaemonProcess) -> None:
    assert ready(daemon)
    assert 0 == daemon.stop()
    assert "stopped" in {event["event"] for event in daemon.log_events()}


def test_a_request_that_runs_is_finished_before_the_end(daemon: DaemonProcess) -> None:
    results: list[object] = []

    def publish() -> None:
        with daemon.client() as client:
            results.append(client.publish_targets(REPOSITORY, add=[target(f"drained-{n}") for n in range(200)]))

    assert daemon.process is not None
    (worker,) = daemon.children()["hsm"]
    os.kill(worker, signal.SIGSTOP)  # So that the request cannot be done before the signal.
    thread = threading.Thread(target=publish)
    thread.start()
    poll(lambda: "rpcs_running 1.0" in metrics(daemon), "the request runs")
    daemon.process.send_signal(signal.SIGTERM)
    poll(lambda: not ready(daemon), "the daemon drains")
    assert [] == results
    os.kill(worker, signal.SIGCONT)
    thread.join()
    assert (0, 1) == (daemon.ended(), len(results))
    assert "packages/drained-199.tar.gz" in targets_of(daemon.home / "metadata")


def metrics(daemon: DaemonProcess) -> str:
    address = f"http://127.0.0.1:{daemon.ports['administration_http']}/metrics"
    with urllib.request.urlopen(address) as response:
        return str(response.read().decode())


def test_workers_end_with_a_daemon_that_is_killed(daemon: DaemonProcess) -> None:
    workers = daemon.children()
    assert workers["hsm"] and workers["scan"]
    daemon.kill()
    for pid in workers["hsm"] + workers["scan"]:
        poll(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"worker {pid} ends")  # type: ignore[misc]


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 40))]


@pytest.mark.parametrize("seed", SEEDS)
def test_kill_9_while_publishing_loses_nothing_that_was_acknowledged(home: DaemonProcess, seed: int) -> None:
    """Killed at a random moment and started again, three times over, while targets are published one after another."""
    dice = random.Random(seed)
    witness = VersionWitness(home.home / "metadata")
    acknowledged: set[str] = set()
    number = 0
    for _ in range(3):
        home.start()
        assassin = threading.Timer(dice.uniform(0.05, 1.0), home.process.kill)  # type: ignore[union-attr]
        assassin.start()
        with home.client(retry=RetryPolicy(max_attempts=1)) as client:
            while True:
                number += 1
                try:
                    client.publish_targets(REPOSITORY, add=[target(f"kill-{seed}-{number}")])
                except WharfingerError:
                    break
                acknowledged.add(target(f"kill-{seed}-{number}").path)
        assassin.join()
        home.kill()
        witness.look()
    home.start()
    witness.look()
    assert 0 == home.stop()
    assert acknowledged <= set(targets_of(home.home / "metadata"))
    with sqlite3.connect(home.home / "wharfinger.db") as database:
        doubled = database.execute(
            "SELECT role, version FROM ledger_entries GROUP BY repository, epoch, role, version HAVING COUNT(*) > 1"
        ).fetchall()
    database.close()
    assert [] == doubled


def test_a_killed_hsm_worker_is_replaced(daemon: DaemonProcess) -> None:
    (worker,) = daemon.children()["hsm"]
    os.kill(worker, signal.SIGKILL)
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[target("after-the-worker")])
    poll(lambda: ready(daemon), "the daemon is ready again")
    assert [worker] != daemon.children()["hsm"]


def test_a_killed_scan_worker_is_replaced(daemon: DaemonProcess, tmp_path: Path) -> None:
    from wharfinger_client import Subject

    (worker,) = daemon.children()["scan"]
    os.kill(worker, signal.SIGKILL)
    artifact = tmp_path / "example-1.0.tar.gz"
    artifact.write_bytes(b"not an archive")
    with daemon.client() as client:
        subject = Subject.file(project="example", version="1.0", filename=artifact.name)
        reply = client.scan_file(artifact, subject=subject)
    assert reply.scan.classification is not None


def test_a_token_that_goes_away_and_comes_back_needs_no_restart(daemon: DaemonProcess) -> None:
    tokens, away = daemon.home / "softhsm", daemon.home / "softhsm-away"
    impatient = RetryPolicy(max_attempts=1)
    tokens.rename(away)
    with daemon.client(retry=impatient) as client:
        with pytest.raises(UnavailableError):
            client.publish_targets(REPOSITORY, add=[target("while-away")], timeout=20)
        poll(lambda: client.check_health() is ServingStatus.NOT_SERVING, "health says so")
        assert not ready(daemon)
        away.rename(tokens)
        poll(lambda: client.check_health() is ServingStatus.SERVING, "health recovers", 90)
        client.publish_targets(REPOSITORY, add=[target("after-return")])
    assert {"packages/while-away.tar.gz", "packages/after-return.tar.gz"} <= set(targets_of(daemon.home / "metadata"))


# ---- What stops the start, each with one message that says what to do ------------------------------------------------
def start_failure(home: DaemonProcess) -> tuple[int, str]:
    before = len(home.log()) if home.log_path.exists() else 0
    home.start(wait=False)
    assert home.process is not None
    status = home.process.wait(60)
    assert home.process.stdout is not None
    home.process.stdout.close()
    return status, home.log()[before:]


def test_a_wrong_pin_is_tried_once_and_never_again(home: DaemonProcess) -> None:
    """Exit status 78, remembered: a service manager that restarts the daemon must not lock the token."""
    pin = home.home / "pin"
    right = pin.read_text()
    pin.write_text("0000")
    status, message = start_failure(home)
    assert 78 == status
    assert "refused the PIN" in message
    status, message = start_failure(home)
    assert 78 == status
    assert "was not tried again" in message
    pin.write_text(right)
    home.start()
    assert 0 == home.stop()


def test_a_missing_module_stops_the_start(home: DaemonProcess) -> None:
    configuration = home.home / "config.toml"
    configuration.write_text(configuration.read_text().replace("libsofthsm2.so", "libabsent.so"))
    status, message = start_failure(home)
    assert 2 == status
    assert "libabsent.so" in message


def test_a_key_that_the_root_does_not_authorise_stops_the_start(home: DaemonProcess, pristine_home: Path) -> None:
    """Another token with other keys: nothing that it signs would verify."""
    import re
    import shutil

    from tests.support.daemon_process import run_cli

    other = home.home.parent / "other"
    assert 0 == run_cli("init", "--development", "--home", str(other), "--bins", "2").returncode
    for name in ("softhsm", "pin"):
        place = home.home / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        shutil.move(str(other / name), str(place))
    conf = home.home / "softhsm" / "softhsm2.conf"
    conf.write_text(re.sub(re.escape(str(other)), str(home.home), conf.read_text()))
    status, message = start_failure(home)
    assert 2 == status
    assert "key" in message and "token" in message


def test_a_ledger_that_is_missing_beside_metadata_stops_the_start(home: DaemonProcess) -> None:
    from tests.support.daemon_process import run_cli

    (home.home / "wharfinger.db").unlink()
    status, message = start_failure(home)
    assert 2 == status and "wharfinger db upgrade" in message
    assert 0 == run_cli("db", "upgrade", "--config", str(home.home / "config.toml")).returncode
    status, message = start_failure(home)
    assert 2 == status
    assert "ledger" in message.lower()


def test_a_ledger_that_is_behind_the_published_metadata_stops_the_start(home: DaemonProcess) -> None:
    """A restored backup: signing on with it could use versions twice."""
    import shutil

    database = home.home / "wharfinger.db"
    backup = home.home / "backup.db"
    shutil.copy(database, backup)
    home.start()
    with home.client() as client:
        client.publish_targets(REPOSITORY, add=[target("after-the-backup")])
    assert 0 == home.stop()
    before = published_versions(home.home / "metadata")
    for leftover in home.home.glob("wharfinger.db*"):
        leftover.unlink()
    shutil.copy(backup, database)
    status, message = start_failure(home)
    assert 2 == status
    assert "ledger" in message.lower() and "behind" in message.lower()
    assert before == published_versions(home.home / "metadata")


def test_an_address_in_use_stops_the_start(daemon: DaemonProcess) -> None:
    second = DaemonProcess(daemon.home, daemon.ports)
    status, message = start_failure(second)
    assert 2 == status
    assert "in use" in message or "Another" in message or "another" in message
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[target("the-first-lives-on")])


def test_a_caller_who_signs_the_next_versions_does_not_stop_the_publisher(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """Whoever may Sign can take versions that the publisher was going to use: it uses others, and clients follow."""
    with daemon.client() as client:

        def sign_next(role: str, **changes: object) -> None:
            signed = json.loads(client.get_metadata(REPOSITORY, role).content)["signed"]
            signed["version"] += 1
            for path, value in changes.items():
                place = signed
                *parents, last = path.split("__")
                for parent in parents:
                    place = place[parent if parent == "meta" else parent.replace("_", "-") + ".json"]
                place[last] = value
            content = json.dumps(signed, separators=(",", ":"), sort_keys=True).encode()
            client.sign_metadata(REPOSITORY, content, role=role)

        for role in ("bins-0", "bins-1", "bins-2", "bins-3"):
            sign_next(role)
        sign_next("snapshot", meta__bins_1__version=900)
        sign_next("timestamp", meta__snapshot__version=700)
        result = client.publish_targets(REPOSITORY, add=[target("all-the-same")])
        assert 900 == client.get_metadata(REPOSITORY, "bins-1").version
        assert 700 == result.snapshot_version
        client.publish_targets(REPOSITORY, add=[target("and-again")])
    daemon.updater(tmp_path).refresh()
    assert {"packages/all-the-same.tar.gz", "packages/and-again.tar.gz"} <= set(targets_of(daemon.home / "metadata"))
    assert 0 == daemon.stop()
    daemon.start()
