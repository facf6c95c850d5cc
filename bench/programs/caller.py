"""A caller with the real client, in a process of its own; or with a bare channel, for empty RPCs.

    python caller.py TLS_FOLDER

Reads one command a line from standard input, as JSON::

    {"do": "batches", "address": A, "first_bin": 0, "items": 64, "calls": 10, "version": 100}
    {"do": "singles", "address": A, "first_bin": 0, "callers": 32, "calls": 640, "version": 100}
    {"do": "empty",   "address": A, "callers": 32, "calls": 640}

answers ``ready`` when all is prepared, waits for a line, calls, and answers with the seconds by the clock, and the
median seconds of one call. Version V, V + 1 and so on of each bin are used. One caller blocks; several share a loop.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from wharfinger_client import AsyncClient, Client, ClientSettings, SigningItem, TlsIdentity

BINS = 64
CALLER = "warehouse"

tls = Path(sys.argv[1])
identity = TlsIdentity(ca=tls / "ca.crt", certificate=tls / f"{CALLER}.crt", key=tls / f"{CALLER}.key")
clients: dict[str, Client] = {}
channels: dict[str, grpc.Channel] = {}

Calls = list[Callable[[], object]]
AsyncCall = Callable[[], Awaitable[object]]
AsyncCalls = list[AsyncCall]


def item(bin_number: int, version: int) -> SigningItem:
    expires = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = json.dumps(
        {"_type": "targets", "expires": expires, "spec_version": "1.0.31", "targets": {}, "version": version},
        separators=(",", ":"),
        sort_keys=True,
    ).encode()
    return SigningItem("development", signed, role=f"bins-{bin_number:02x}")


def batches(command: dict[str, Any]) -> list[list[SigningItem]]:
    bins = range(command["first_bin"], command["first_bin"] + command.get("items", 1))
    return [[item(one, command["version"] + call) for one in bins] for call in range(command["calls"])]


def singles(command: dict[str, Any]) -> list[list[SigningItem]]:
    """As many lists as callers; each caller has bins of its own, so that versions rise."""
    callers = command["callers"]
    made: list[list[SigningItem]] = [[] for _ in range(callers)]
    for call in range(command["calls"]):
        made[call % callers].append(item(command["first_bin"] + call % BINS, command["version"] + call // BINS))
    return made


def read(name: str) -> bytes:
    return (tls / name).read_bytes()


def credentials() -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(read("ca.crt"), read(f"{CALLER}.key"), read(f"{CALLER}.crt"))


def blocking(command: dict[str, Any]) -> Calls:
    address = command["address"]
    if command["do"] == "empty":
        if address not in channels:
            channels[address] = grpc.secure_channel(address, credentials())
        call: Callable[..., object] = channels[address].unary_unary("/bench.Floor/Empty")
        return [lambda: call(b"", timeout=10)] * command["calls"]
    if address not in clients:
        clients[address] = Client(ClientSettings(address, identity))
    client = clients[address]
    prepared = batches(command) if command["do"] == "batches" else [[one] for one in singles(command)[0]]
    return [partial(client.sign, items) for items in prepared]


def run_blocking(calls: Calls) -> tuple[float, list[float]]:
    started()
    begun = time.perf_counter()
    times = []
    for call in calls:
        at = time.perf_counter()
        call()
        times.append(time.perf_counter() - at)
    return time.perf_counter() - begun, times


async def run_together(command: dict[str, Any]) -> tuple[float, list[float]]:
    callers, times = command["callers"], []

    async def caller(calls: AsyncCalls) -> None:
        for call in calls:
            at = time.perf_counter()
            await call()
            times.append(time.perf_counter() - at)

    async def measured(calls: list[AsyncCalls], first: AsyncCall) -> float:
        await first()
        started()
        begun = time.perf_counter()
        await asyncio.gather(*map(caller, calls))
        return time.perf_counter() - begun

    if command["do"] == "empty":
        async with grpc.aio.secure_channel(command["address"], credentials()) as channel:
            rpc: Callable[..., Awaitable[object]] = channel.unary_unary("/bench.Floor/Empty")
            each: AsyncCalls = [lambda: rpc(b"", timeout=10)] * (command["calls"] // callers)
            return await measured([each] * callers, lambda: rpc(b"")), times
    async with AsyncClient(ClientSettings(command["address"], identity)) as client:
        wanted: list[AsyncCalls] = [[partial(client.sign, [one]) for one in mine] for mine in singles(command)]
        return await measured(wanted, client.check_health), times


def started() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    while line := sys.stdin.readline():
        command = json.loads(line)
        if command.get("callers", 1) == 1:
            calls = blocking(command)
            seconds, times = run_blocking(calls)
        else:
            seconds, times = asyncio.run(run_together(command))
        print(json.dumps({"seconds": seconds, "median": statistics.median(times)}), flush=True)


main()
