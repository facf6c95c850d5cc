"""A network HSM that is killed, comes back, hangs or was never there: p11-kit server with SoftHSM behind it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.fault_module.faults import FaultModule
from tests.support.fault_module.p11_kit_server import P11KitServer
from tests.support.fault_module.signer import LIMITS, Signer
from wharfinger_hsm.errors import HsmError, TokenMissingError, TokenUnavailableError, WrongPinError
from wharfinger_hsm.model import KeyAlgorithm, TokenSettings

QUICK = replace(LIMITS, allowance=0.5, start=5.0)


@pytest.fixture
def server(softhsm: Any) -> Iterator[P11KitServer]:
    with TemporaryDirectory() as short:  # A socket's path has 107 bytes at most, and pytest's directories are long.
        prepared = P11KitServer(Path(short), softhsm.settings.module, softhsm.settings.environment)
        yield prepared
        prepared.kill()


@pytest.fixture
def settings(server: P11KitServer, softhsm: Any) -> TokenSettings:
    return server.in_front_of(softhsm.settings)


async def start(start_supervisor: Any, settings: TokenSettings, faults: FaultModule, **options: Any) -> Signer:
    supervisor = await start_supervisor(settings, **({"limits": QUICK} | options))
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    return Signer(supervisor, key, faults, 2.0)


async def test_a_server_that_is_killed_and_started_again_needs_no_help(
    server: P11KitServer, settings: TokenSettings, start_supervisor: Any, faults: FaultModule
) -> None:
    server.start()
    signer = await start(start_supervisor, settings, faults)

    server.kill()
    for _ in range(3):
        with pytest.raises(TokenUnavailableError):
            await signer.sign()
        with pytest.raises(TokenUnavailableError):
            await signer.supervisor.keys()
    server.start()

    await signer.recover()
    assert [signer.key] == await signer.supervisor.keys()


async def test_a_server_killed_again_and_again_under_load_causes_no_wrong_signature(
    server: P11KitServer, settings: TokenSettings, start_supervisor: Any, faults: FaultModule
) -> None:
    """Every call ends in a signature that verifies, or in an error that says: try again."""
    dice = random.Random(20)
    server.start()
    signer = await start(start_supervisor, settings, faults, workers=2)
    outcomes: Counter[str] = Counter()
    over = asyncio.Event()

    async def call_again_and_again(caller: int) -> None:
        number = caller
        while not over.is_set():
            number += 100
            try:
                await signer.sign(number)  # Verifies.
            except TokenUnavailableError as error:
                assert error.retry_after_seconds > 0
                outcomes["unavailable"] += 1
                await asyncio.sleep(0.01)
            else:
                outcomes["signed"] += 1

    callers = [asyncio.create_task(call_again_and_again(caller)) for caller in range(8)]
    for _ in range(4):
        await asyncio.sleep(dice.uniform(0.05, 0.3))
        server.kill()
        await asyncio.sleep(dice.uniform(0.0, 0.2))
        server.start()
        signed = outcomes["signed"]
        await signer.recover()
        while outcomes["signed"] == signed:
            await asyncio.sleep(0.01)
    over.set()
    await asyncio.gather(*callers)

    assert outcomes.keys() == {"signed", "unavailable"}
    assert 2 >= signer.supervisor.healthy_workers > 0


async def test_a_server_that_answers_no_more_is_found_out_at_the_deadline(
    server: P11KitServer, settings: TokenSettings, start_supervisor: Any, faults: FaultModule
) -> None:
    """Packets that are lost are no error for the module: it waits for ever."""
    server.start()
    signer = replace(await start(start_supervisor, settings, faults), patience=0.3)

    server.freeze()
    for _ in range(2):
        with pytest.raises(TokenUnavailableError):
            await signer.sign()
    server.thaw()

    await replace(signer, patience=2.0).recover()


async def test_a_server_that_is_not_there_stops_the_start_and_sends_no_pin(
    settings: TokenSettings, start_supervisor: Any
) -> None:
    """p11-kit's client shows no token then, which is no proof that there is none: the start may be repeated."""
    with pytest.raises(TokenMissingError):
        await start_supervisor(settings)


async def test_callers_of_a_server_that_is_away_are_told_when_to_come_again(
    server: P11KitServer, settings: TokenSettings, start_supervisor: Any, faults: FaultModule
) -> None:
    server.start()
    limits = replace(QUICK, first_backoff=0.02, longest_backoff=0.16)
    signer = await start(start_supervisor, settings, faults, limits=limits)
    server.kill()
    hints = []
    for _ in range(30):
        with pytest.raises(TokenUnavailableError) as raised:
            await signer.sign()
        hints.append(raised.value.retry_after_seconds)
        await asyncio.sleep(0.02)
    server.start()

    await signer.recover()
    assert 0 < min(hints) <= max(hints) <= limits.longest_backoff


async def test_a_wrong_pin_crosses_the_network_once(
    server: P11KitServer, settings: TokenSettings, softhsm: Any, start_supervisor: Any, faults: FaultModule
) -> None:
    server.start()
    signer = await start(start_supervisor, settings, faults)
    softhsm.pin_file.write_text("wrong-1234")
    server.kill()
    server.start()

    with pytest.raises(TokenUnavailableError):
        await signer.sign()
    for _ in range(3):
        with pytest.raises(WrongPinError):
            await signer.sign()
    softhsm.pin_file.write_text("integration-1234")
    with pytest.raises(HsmError):
        await signer.sign()
