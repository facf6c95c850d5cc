"""What an attacker with a caller's certificate can do without our client, and what can be seen of it from outside."""

from __future__ import annotations

import copy
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from securesystemslib.formats import encode_canonical

from tests.support.daemon_process import DaemonProcess
from wharfinger_client import Client, RetryPolicy, Target, WharfingerError

REPOSITORY = "development"
ONCE = RetryPolicy(max_attempts=1)


def target(path: str, content: bytes = b"content") -> Target:
    """A target with this content."""
    return Target(path, len(content), {"sha256": hashlib.sha256(content).hexdigest()})


def canonical(value: Any) -> bytes:
    """The bytes that TUF signs, by the reference encoder."""
    return str(encode_canonical(value)).encode()


def published(client: Client, role: str) -> dict[str, Any]:
    """The ``signed`` object of a role as it is published."""
    signed: dict[str, Any] = json.loads(client.get_metadata(REPOSITORY, role).content)["signed"]
    return signed


def later(signed: dict[str, Any], by: int = 1, **changes: Any) -> dict[str, Any]:
    """A higher version of it, which holds for some hours, with some attributes replaced."""
    expires = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return copy.deepcopy(signed) | {"version": signed["version"] + by, "expires": expires} | changes


def reason_of(call: Callable[[], object]) -> str:
    """The reason for which a call is refused; empty if it is not."""
    try:
        call()
    except WharfingerError as error:
        return error.reason
    return ""


def ledger_rows(daemon: DaemonProcess) -> list[tuple[Any, ...]]:
    """Everything that the ledger has on record."""
    with closing(sqlite3.connect(f"file:{daemon.home / 'wharfinger.db'}?mode=ro", uri=True)) as database:
        entries = database.execute("SELECT role, version, digest FROM ledger_entries ORDER BY 1, 2").fetchall()
        return entries + database.execute("SELECT role, name, version FROM ledger_floors ORDER BY 1, 2").fetchall()


def doubled_versions(daemon: DaemonProcess) -> list[tuple[Any, ...]]:
    """Versions that the ledger knows with more than one content."""
    with closing(sqlite3.connect(f"file:{daemon.home / 'wharfinger.db'}?mode=ro", uri=True)) as database:
        return database.execute(
            "SELECT role, version FROM ledger_entries GROUP BY repository, epoch, role, version HAVING COUNT(*) > 1"
        ).fetchall()


@contextmanager
def raw_channel(daemon: DaemonProcess, name: str = "warehouse") -> Iterator[grpc.Channel]:
    """A channel without our client, for what it would not send."""
    tls = daemon.home / "tls"
    credentials = grpc.ssl_channel_credentials(
        (tls / "ca.crt").read_bytes(), (tls / f"{name}.key").read_bytes(), (tls / f"{name}.crt").read_bytes()
    )
    options = [("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(f"127.0.0.1:{daemon.ports['grpc']}", credentials, options=options) as channel:
        yield channel


def code_of(call: Callable[[], object]) -> str:
    """The name of the gRPC status code of a raw call."""
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"
