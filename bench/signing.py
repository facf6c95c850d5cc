"""Signing: ECDSA P-256 on SoftHSM, batches of 64, ledger durable, against the module driven directly and HSMSigner.

Ours is the whole way: a client over mTLS, the checks of ``Sign``, the durable ledger, the HSM worker, verification, the
record, the reply. The daemon is a process of its own; client and daemon share the machine's cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.table import Table, best_rates
from tests.support.daemon_process import DaemonProcess, place_home, run_cli
from wharfinger_client import Client, SigningItem

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"
PEERS = ROOT / ".venv" / "peers" / "bin" / "python"
BATCH = 64
BATCHES = 10
HSM_SIGNER_ITEMS = 20
FIRST_VERSION = 100
PEER_KEYID = 2


def run(rounds: int) -> Table:
    """Measures, and returns signatures a second."""
    with tempfile.TemporaryDirectory(prefix="wharfinger-bench-") as folder, contextlib.ExitStack() as stack:
        daemon = _daemon(Path(folder), stack)
        _generate_peer_key(daemon)
        direct = stack.enter_context(_program(daemon, [sys.executable, str(PROGRAMS / "direct.py")], "direct"))
        peer = stack.enter_context(_program(daemon, [str(PEERS), str(PROGRAMS / "hsm_signer.py")], "peer"))
        versions = iter(range(FIRST_VERSION, 10**6))
        client = stack.enter_context(daemon.client())
        rates = best_rates(
            {
                "module driven directly, one session": lambda: BATCH * BATCHES / _ask(direct, BATCH * BATCHES)[0],
                "the same, each signature verified": lambda: BATCH * BATCHES / _ask(direct, BATCH * BATCHES)[1],
                "wharfinger, Sign of 64 items": lambda: _sign_batches(client, versions, BATCH, BATCHES),
                "wharfinger, Sign of 1 item": lambda: _sign_batches(client, versions, 1, BATCH),
                "securesystemslib HSMSigner": lambda: HSM_SIGNER_ITEMS / _ask(peer, HSM_SIGNER_ITEMS)[0],
            },
            rounds,
        )
    table = Table("Signing, ECDSA P-256 on SoftHSM, one worker", "signatures", rates)
    ours, verified = rates["wharfinger, Sign of 64 items"], rates["the same, each signature verified"]
    table.notes = [
        f"batches of {BATCH} reach {ours / verified:.2f} of the verified floor",
        f"and {ours / rates['securesystemslib HSMSigner']:.1f} times HSMSigner",
    ]
    return table


def _daemon(folder: Path, stack: contextlib.ExitStack) -> DaemonProcess:
    pristine = folder / "pristine"
    made = run_cli("init", "--development", "--home", str(pristine), "--bins", str(BATCH))
    assert made.returncode == 0, made.stderr
    daemon = DaemonProcess(folder / "home", place_home(pristine, folder / "home"))
    daemon.start()
    stack.callback(daemon.stop)
    return daemon


def _generate_peer_key(daemon: DaemonProcess) -> None:
    # HSMSigner finds keys by an integer CKA_ID, and ours have random ones: give it a key of its own.
    token = ["--module", _module(daemon), "--token-label", "wharfinger-development", "--login", "--pin", _pin(daemon)]
    key = ["--key-type", "EC:prime256v1", "--label", "peer", "--id", f"{PEER_KEYID:02x}", "--usage-sign"]
    command = ["pkcs11-tool", *token, "--keypairgen", *key]
    subprocess.run(command, check=True, capture_output=True, env=_environment(daemon))


@contextlib.contextmanager
def _program(daemon: DaemonProcess, command: list[str], kind: str) -> Iterator[subprocess.Popen[str]]:
    token, pin = "wharfinger-development", _pin(daemon)
    arguments = [_module(daemon), token, pin, "peer"] if kind == "direct" else [token, pin, str(PEER_KEYID)]
    process = subprocess.Popen(
        command + arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(daemon) | {"PYKCS11LIB": _module(daemon)},
    )
    try:
        yield process
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()


def _ask(process: subprocess.Popen[str], count: int) -> list[float]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{count}\n")
    process.stdin.flush()
    return [float(seconds) for seconds in process.stdout.readline().split()]


def _sign_batches(client: Client, versions: Iterator[int], items: int, batches: int) -> float:
    expires = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    prepared = [_batch(next(versions), items, expires) for _ in range(batches)]
    started = time.perf_counter()
    for batch in prepared:
        client.sign(batch)
    return items * batches / (time.perf_counter() - started)


def _batch(version: int, items: int, expires: str) -> list[SigningItem]:
    signed = json.dumps(
        {"_type": "targets", "expires": expires, "spec_version": "1.0.31", "targets": {}, "version": version},
        separators=(",", ":"),
        sort_keys=True,
    ).encode()
    return [SigningItem("development", signed, role=f"bins-{number:02x}") for number in range(items)]


def _module(daemon: DaemonProcess) -> str:
    import tomllib

    return str(tomllib.loads((daemon.home / "config.toml").read_text())["hsm"]["module"])


def _pin(daemon: DaemonProcess) -> str:
    return (daemon.home / "pin").read_text().strip()


def _environment(daemon: DaemonProcess) -> dict[str, str]:
    return dict(os.environ) | {"SOFTHSM2_CONF": str(daemon.home / "softhsm" / "softhsm2.conf")}
