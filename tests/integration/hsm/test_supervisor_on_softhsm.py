"""The supervisor with real workers and a real SoftHSM token, through everything that can happen to them."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from wharfinger_hsm.errors import (
    KeyExistsError,
    KeyNotFoundError,
    ModuleMissingError,
    PinFileError,
    TokenMissingError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem, TokenKey
from wharfinger_hsm.supervisor import HsmSupervisor
from wharfinger_hsm.verification import verify

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
Pids = Callable[[HsmSupervisor], list[int]]


def items_for(key: TokenKey, number: int) -> list[SigningItem]:
    return [SigningItem(key.public_key, Digest(index.to_bytes(32, "big"))) for index in range(number)]


async def signs_within_deadline(supervisor: HsmSupervisor, key: TokenKey) -> None:
    """Repeats, as a caller may, until a signature comes."""
    deadline = time.monotonic() + 20
    while True:
        try:
            (signature,) = await supervisor.sign(items_for(key, 1), timeout_seconds=5)
        except TokenUnavailableError as error:
            assert time.monotonic() < deadline, f"It never recovered: {error}"
            await asyncio.sleep(min(error.retry_after_seconds, 0.2))
        else:
            verify(items_for(key, 1)[0], signature)
            return


async def test_generated_keys_sign_batches_longer_than_a_request(softhsm: Any, start_supervisor: Any) -> None:
    supervisor = await start_supervisor(softhsm.settings, workers=2)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    items = items_for(key, 200)

    signatures = await supervisor.sign(items, timeout_seconds=30)

    assert [key] == await supervisor.keys()
    assert len(items) == len(signatures)
    for item, signature in zip(items, signatures, strict=True):
        verify(item, signature)
    assert (2, 0) == (supervisor.healthy_workers, supervisor.restarts)


async def test_every_worker_finds_a_key_that_one_of_them_made(softhsm: Any, start_supervisor: Any) -> None:
    supervisor = await start_supervisor(softhsm.settings, workers=2)
    key = await supervisor.generate(KeyAlgorithm.ED25519, "online")
    items = [SigningItem(key.public_key, Message(b"%d" % index)) for index in range(8)]

    for _ in range(5):
        for item, signature in zip(items, await supervisor.sign(items, timeout_seconds=10), strict=True):
            verify(item, signature)

    assert 0 == supervisor.restarts


async def test_a_callers_mistake_costs_no_worker(softhsm: Any, start_supervisor: Any) -> None:
    supervisor = await start_supervisor(softhsm.settings)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere")

    with pytest.raises(UnsupportedItemError):
        await supervisor.sign([SigningItem(key.public_key, Digest(bytes(48)))], timeout_seconds=5)
    with pytest.raises(KeyNotFoundError):
        await supervisor.sign(items_for(stranger, 1), timeout_seconds=5)
    with pytest.raises(KeyExistsError):
        await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    with pytest.raises(UnsupportedItemError):
        await supervisor.generate(KeyAlgorithm.ECDSA_P256, "")

    assert (1, 0) == (supervisor.healthy_workers, supervisor.restarts)


async def test_nothing_to_sign_gives_no_signatures(softhsm: Any, start_supervisor: Any) -> None:
    supervisor = await start_supervisor(softhsm.settings)

    assert [] == await supervisor.sign([], timeout_seconds=5)


async def test_a_worker_killed_while_it_signs_is_replaced(
    softhsm: Any, start_supervisor: Any, worker_pids: Pids, eventually: Eventually
) -> None:
    lost: list[str] = []
    supervisor = await start_supervisor(softhsm.settings, on_worker_lost=lost.append)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    (pid,) = worker_pids(supervisor)
    os.kill(pid, signal.SIGSTOP)  # So that it is certainly at work when it dies.
    call = asyncio.create_task(supervisor.sign(items_for(key, 1), timeout_seconds=20))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)

    with pytest.raises(TokenUnavailableError) as raised:
        await call

    assert 0 < raised.value.retry_after_seconds
    await signs_within_deadline(supervisor, key)
    assert [pid] != worker_pids(supervisor)
    assert (1, 1) == (supervisor.restarts, len(lost))


async def test_what_a_killed_worker_had_in_hand_goes_to_another(
    softhsm: Any, start_supervisor: Any, worker_pids: Pids, eventually: Eventually
) -> None:
    """Callers do not notice the loss of one worker of two."""
    supervisor = await start_supervisor(softhsm.settings, workers=2)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    victim, _ = worker_pids(supervisor)
    os.kill(victim, signal.SIGSTOP)
    calls = [asyncio.create_task(supervisor.sign(items_for(key, 1), timeout_seconds=20)) for _ in range(4)]
    await eventually(lambda: sum(call.done() for call in calls) == 2)  # The two workers shared them.
    os.kill(victim, signal.SIGKILL)

    for signatures in await asyncio.gather(*calls):
        verify(items_for(key, 1)[0], signatures[0])
    await eventually(lambda: supervisor.healthy_workers == 2)


async def test_a_worker_that_dies_idle_is_replaced(
    softhsm: Any, start_supervisor: Any, worker_pids: Pids, eventually: Eventually
) -> None:
    supervisor = await start_supervisor(softhsm.settings)
    (pid,) = worker_pids(supervisor)

    os.kill(pid, signal.SIGKILL)

    await eventually(lambda: supervisor.restarts == 1 and supervisor.healthy_workers == 1)
    assert [] == await supervisor.keys()


async def test_a_worker_that_hangs_past_the_deadline_is_killed_and_replaced(
    softhsm: Any, start_supervisor: Any, worker_pids: Pids
) -> None:
    supervisor = await start_supervisor(softhsm.settings)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    (pid,) = worker_pids(supervisor)
    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(TokenUnavailableError, match=r"did not answer within 0\.5 seconds"):
        await supervisor.sign(items_for(key, 1), timeout_seconds=0.5)

    await signs_within_deadline(supervisor, key)
    assert [pid] != worker_pids(supervisor)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_token_that_goes_away_and_comes_back_needs_no_help(softhsm: Any, start_supervisor: Any) -> None:
    """SoftHSM finds nothing in a directory that is gone, and says nothing about it: no key may be taken for deleted."""
    supervisor = await start_supervisor(softhsm.settings)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    elsewhere = softhsm.tokens.with_name("elsewhere")

    softhsm.tokens.rename(elsewhere)
    for _ in range(10):
        with pytest.raises(TokenUnavailableError):
            await supervisor.sign(items_for(key, 1), timeout_seconds=2)
        with pytest.raises(TokenUnavailableError):
            await supervisor.keys()
    elsewhere.rename(softhsm.tokens)

    await signs_within_deadline(supervisor, key)
    assert [key] == await supervisor.keys()


async def test_keys_of_a_token_that_went_away_are_not_an_empty_list(softhsm: Any, start_supervisor: Any) -> None:
    supervisor = await start_supervisor(softhsm.settings)
    await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")

    softhsm.tokens.rename(softhsm.tokens.with_name("elsewhere"))

    with pytest.raises(TokenUnavailableError):
        await supervisor.keys()


async def test_no_key_is_found_missing_on_a_token_that_went_away(softhsm: Any, start_supervisor: Any) -> None:
    supervisor = await start_supervisor(softhsm.settings)
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere")

    softhsm.tokens.rename(softhsm.tokens.with_name("elsewhere"))

    with pytest.raises(TokenUnavailableError):
        await supervisor.sign(items_for(stranger, 1), timeout_seconds=5)


async def test_no_key_is_generated_on_a_token_that_went_away(softhsm: Any, start_supervisor: Any) -> None:
    supervisor = await start_supervisor(softhsm.settings)

    softhsm.tokens.rename(softhsm.tokens.with_name("elsewhere"))

    with pytest.raises(TokenUnavailableError):
        await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")


async def test_a_wrong_pin_stops_the_start(softhsm: Any, start_supervisor: Any) -> None:
    softhsm.pin_file.write_text("wrong-1234")

    with pytest.raises(WrongPinError, match="refused the PIN") as raised:
        await start_supervisor(softhsm.settings, workers=2)

    assert "wrong-1234" not in str(raised.value)


async def test_a_pin_that_turns_wrong_ends_the_replacing(
    softhsm: Any, start_supervisor: Any, worker_pids: Pids, eventually: Eventually
) -> None:
    supervisor = await start_supervisor(softhsm.settings)
    softhsm.pin_file.write_text("wrong-1234")
    os.kill(worker_pids(supervisor)[0], signal.SIGKILL)
    await eventually(lambda: supervisor.restarts == 1)

    with pytest.raises(WrongPinError):
        await supervisor.keys()
    # Correcting the file is not enough: only a start by a person is.
    softhsm.pin_file.write_text("integration-1234")
    with pytest.raises(WrongPinError):
        await supervisor.keys()
    assert 0 == supervisor.healthy_workers


async def test_a_pin_file_that_is_gone_and_back_recovers(
    softhsm: Any, start_supervisor: Any, worker_pids: Pids, eventually: Eventually
) -> None:
    """Reading no PIN costs no attempt, so this is retried."""
    supervisor = await start_supervisor(softhsm.settings)
    aside = softhsm.pin_file.rename(softhsm.pin_file.with_name("aside"))
    os.kill(worker_pids(supervisor)[0], signal.SIGKILL)
    await eventually(lambda: supervisor.restarts == 1)

    with pytest.raises(TokenUnavailableError, match="PIN file"):
        await supervisor.keys()
    aside.rename(softhsm.pin_file)

    await eventually(lambda: supervisor.healthy_workers == 1)
    assert [] == await supervisor.keys()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s, t: replace(s, module=t / "none.so"), ModuleMissingError, "There is no PKCS#11 module"),
        (lambda s, t: replace(s, module=s.pin_file), ModuleMissingError, "cannot be loaded"),
        (lambda s, t: replace(s, token_label="other"), TokenMissingError, "other"),
        (lambda s, t: replace(s, pin_file=t / "none"), PinFileError, "cannot be read"),
        (
            lambda s, t: replace(s, environment={"SOFTHSM2_CONF": str(t / "none")}),
            TokenUnavailableError,
            "SOFTHSM2_CONF",
        ),
    ],
    ids=["no module", "not a module", "no such token", "no PIN file", "no configuration"],
)
async def test_a_mistake_in_the_settings_stops_the_start(
    softhsm: Any, start_supervisor: Any, tmp_path: Any, change: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await start_supervisor(change(softhsm.settings, tmp_path))


async def test_closing_ends_the_workers(softhsm: Any, start_supervisor: Any, worker_pids: Pids) -> None:
    supervisor = await start_supervisor(softhsm.settings, workers=2)
    pids = worker_pids(supervisor)

    await supervisor.close()
    await supervisor.close()

    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert 0 == supervisor.healthy_workers
    with pytest.raises(TokenUnavailableError, match="not running"):
        await supervisor.keys()
