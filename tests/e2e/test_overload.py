"""Far more calls than there is room for, before a token that does not answer: most are refused at once, with a word on
when to come back; those that were taken are served; and afterwards all is as before, without anybody's doing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical

from tests.support.daemon_process import DaemonProcess, poll
from wharfinger_client import RetryPolicy, SigningItem, WharfingerError

PLACES = 8
PROCESSES, CALLS = 3, 20
ROOT = Path(__file__).parents[2]


def configure(home: DaemonProcess, section: str, line: str) -> None:
    configuration = home.home / "config.toml"
    text, count = re.subn(rf"(?m)^\[{re.escape(section)}\]$", f"[{section}]\n{line}", configuration.read_text())
    assert 1 == count
    configuration.write_text(text)


def next_snapshot(daemon: DaemonProcess, by: int = 1) -> bytes:
    """The canonical bytes of a higher version of what is published."""
    with daemon.client() as client:
        signed: dict[str, Any] = json.loads(client.get_metadata("development", "snapshot").content)["signed"]
    expires = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(encode_canonical({**signed, "version": signed["version"] + by, "expires": expires})).encode()


def metric(daemon: DaemonProcess, name: str) -> float:
    address = f"http://127.0.0.1:{daemon.ports['administration_http']}/metrics"
    with urllib.request.urlopen(address) as response:
        found = re.search(rf"(?m)^{re.escape(name)} (\S+)$", response.read().decode())
    return float(found[1]) if found else 0.0


@contextmanager
def flood(daemon: DaemonProcess, signed: bytes) -> Iterator[list[dict[str, str]]]:
    """Processes that call all at once; yields the list to which each call is added when it has ended."""
    ended: list[dict[str, str]] = []
    command = [
        sys.executable,
        "-m",
        "tests.e2e.flooding_caller",
        str(daemon.home),
        str(daemon.ports["grpc"]),
        str(CALLS),
    ]
    callers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]

    def read(caller: subprocess.Popen[str]) -> None:
        assert caller.stdout is not None
        ended.extend(json.loads(line) for line in caller.stdout)

    readers = [threading.Thread(target=read, args=(caller,)) for caller in callers]
    for caller, reader in zip(callers, readers, strict=True):
        assert caller.stdin is not None
        caller.stdin.write(signed.hex())
        caller.stdin.close()
        reader.start()
    try:
        yield ended
    finally:
        for caller, reader in zip(callers, readers, strict=True):
            with suppress(subprocess.TimeoutExpired):
                caller.wait(60)
            caller.kill()
            caller.wait()
            reader.join()
            assert caller.stdout is not None
            caller.stdout.close()


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """The process does nothing meanwhile."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_flood_before_a_slow_token_is_refused_at_once_and_leaves_no_trace(home: DaemonProcess) -> None:
    configure(home, "grpc", f"max_concurrent_requests = {PLACES}")
    configure(home, "hsm", "call_timeout_seconds = 100")
    home.start()
    (worker,) = home.children()["hsm"]
    signed = next_snapshot(home)
    total = PROCESSES * CALLS
    with flood(home, signed) as ended:
        with stopped(worker):
            # Every refusal comes before any signature does: nobody waits for the token to be told to come back.
            poll(lambda: len(ended) == total - PLACES, "all calls beyond the room are refused")
            assert {"RESOURCE_EXHAUSTED"} == {one["code"] for one in ended}
            with_reason = [one for one in ended if one["reason"]]
            # gRPC itself cuts off what comes all too thick, before there is anybody to give a reason.
            assert {"TOO_MANY_CONCURRENT_REQUESTS"} == {one["reason"] for one in with_reason}
            assert all(float(one["retry_after"]) > 0 for one in with_reason)
            assert PLACES == metric(home, "wharfinger_rpcs_running")
        poll(lambda: len(ended) == total, "the calls that were taken are served")
    assert Counter(RESOURCE_EXHAUSTED=total - PLACES, OK=PLACES) == Counter(one["code"] for one in ended)
    assert 1 == len({one["signature"] for one in ended if one["code"] == "OK"}), "the same bytes, one signature"
    assert [worker] == home.children()["hsm"], "a slow token is not a dead one"
    poll(lambda: metric(home, "wharfinger_rpcs_running") == 0, "every place is free again")
    with home.client(retry=RetryPolicy(max_attempts=1)) as client:
        assert client.sign([SigningItem("development", next_snapshot(home, by=2), "snapshot")])
    assert 0 == home.stop()


def test_callers_that_come_back_as_they_are_told_are_all_served(home: DaemonProcess) -> None:
    """The client's own retries are enough: an overload costs time and nothing else."""
    configure(home, "grpc", "max_concurrent_requests = 2")
    home.start()
    signed = next_snapshot(home)
    failed: list[WharfingerError] = []

    def call() -> None:
        try:
            with home.client(retry=RetryPolicy(max_attempts=50)) as client:
                client.sign([SigningItem("development", signed, "snapshot")], timeout=100)
        except WharfingerError as error:
            failed.append(error)

    threads = [threading.Thread(target=call) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failed


def test_a_rate_is_told_with_the_time_to_come_back(home: DaemonProcess) -> None:
    configuration = home.home / "config.toml"
    limited = 'san = "security"\nrate = { signatures_per_second = 0.5, burst = 1 }\n'
    configuration.write_text(configuration.read_text().replace('san = "security"\n', limited))
    home.start()
    item = SigningItem("development", next_snapshot(home), "snapshot")
    with home.client("security", retry=RetryPolicy(max_attempts=1)) as client:
        client.sign([item])
        with pytest.raises(WharfingerError) as caught:
            client.sign([item])
        failure = caught.value
        assert ("RESOURCE_EXHAUSTED", "RATE_LIMITED") == (failure.code, failure.reason)
        assert 0 < (failure.failure.retry_after or 0) <= 2
        [linted] = client.lint([item])
        assert "RATE_LIMITED" == linted.reason
    with home.client() as client:
        client.sign([item])
    told = metric(home, 'wharfinger_signing_refusals_total{reason="RATE_LIMITED",role="snapshot"}')
    logged = [event for event in home.log_events() if event["event"] == "not signed"]
    assert 1 == told
    assert [("RATE_LIMITED", "security", "snapshot")] == [(one["reason"], one["caller"], one["role"]) for one in logged]


def test_a_database_that_is_moved_away_stops_signing_until_it_is_back(daemon: DaemonProcess) -> None:
    """Else signatures would be recorded in a file that the next start does not see."""
    item = SigningItem("development", next_snapshot(daemon), "snapshot")
    path = daemon.home / "wharfinger.db"
    aside = path.with_name("aside.db")
    path.rename(aside)
    with daemon.client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(WharfingerError) as caught:
            client.sign([item])
        failure = caught.value
        assert ("UNAVAILABLE", "DATABASE_UNAVAILABLE") == (failure.code, failure.reason)
        aside.rename(path)
        client.sign([item])
