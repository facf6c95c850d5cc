"""Concurrent calls share requests to a worker, and nothing else: each keeps its signatures, deadline and error."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wharfinger_hsm.errors import (
    KeyNotFoundError,
    OverloadedError,
    SignatureInvalidError,
    TokenUnavailableError,
    UnsupportedItemError,
)
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem, TokenKey, TokenSettings
from wharfinger_hsm.verification import verify

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
LIMITS = SupervisorLimits(allowance=20.0, first_backoff=0.02, longest_backoff=0.2, keys=20.0)


def item_for(key: TokenKey, number: int) -> SigningItem:
    return SigningItem(key.public_key, Digest(number.to_bytes(32, "big")))


def sizes(worker: Any) -> list[int]:
    """How many items each request had."""
    return [int(line) for line in worker.marker.with_suffix(".sizes").read_text().split()]


@pytest.fixture
async def recorded(script: Any, no_token: TokenSettings, start_supervisor: Any, worker_pids: Any) -> Any:
    """A supervisor whose only worker writes down its requests; the key; the script; the worker's process id."""
    worker = script("recording")
    supervisor = await start_supervisor(no_token, worker_command=worker.command, limits=LIMITS)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    (pid,) = worker_pids(supervisor)
    return supervisor, key, worker, pid


async def calls_behind_a_busy_worker(supervisor: Any, key: TokenKey, pid: int, *calls: Any) -> list[Any]:
    """Makes the calls while the worker has one in hand, then lets it go on; their tasks."""
    os.kill(pid, signal.SIGSTOP)
    first = asyncio.create_task(supervisor.sign([item_for(key, 10**6)], timeout_seconds=20))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGCONT)
    await first
    return tasks


async def test_single_signatures_share_a_round_trip(recorded: Any) -> None:
    supervisor, key, worker, pid = recorded
    items = [item_for(key, number) for number in range(10)]

    tasks = await calls_behind_a_busy_worker(
        supervisor, key, pid, *(supervisor.sign([item], timeout_seconds=20) for item in items)
    )

    for item, (signature,) in zip(items, await asyncio.gather(*tasks), strict=True):
        verify(item, signature)
    assert [1, 10] == sizes(worker)


async def test_a_call_that_is_refused_does_not_fail_its_neighbours(recorded: Any) -> None:
    supervisor, key, worker, pid = recorded
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere")
    wanted = [item_for(key, 1), item_for(stranger, 2), item_for(key, 3), SigningItem(key.public_key, Message(b"whole"))]

    tasks = await calls_behind_a_busy_worker(
        supervisor, key, pid, *(supervisor.sign([item], timeout_seconds=20) for item in wanted)
    )
    one, unknown, three, unsuited = await asyncio.gather(*tasks, return_exceptions=True)

    verify(wanted[0], one[0])
    verify(wanted[2], three[0])
    assert (KeyNotFoundError, UnsupportedItemError) == (type(unknown), type(unsuited))
    assert ([1, 4, 1, 1, 1, 1], 0) == (sizes(worker), supervisor.restarts)


async def test_each_call_keeps_its_own_deadline(recorded: Any) -> None:
    supervisor, key, _, pid = recorded
    os.kill(pid, signal.SIGSTOP)
    first = asyncio.create_task(supervisor.sign([item_for(key, 0)], timeout_seconds=20))
    await asyncio.sleep(0)
    hurried = asyncio.create_task(supervisor.sign([item_for(key, 1)], timeout_seconds=0.05))
    patient = asyncio.create_task(supervisor.sign([item_for(key, 2)], timeout_seconds=20))

    with pytest.raises(TokenUnavailableError, match=r"did not answer within 0\.05 seconds"):
        await hurried
    os.kill(pid, signal.SIGCONT)

    verify(item_for(key, 0), (await first)[0])
    verify(item_for(key, 2), (await patient)[0])
    assert 0 == supervisor.restarts


async def test_a_wrong_signature_is_never_given_out_and_ends_its_worker(
    recorded: Any, eventually: Eventually, start_supervisor: Any
) -> None:
    """The worker says that all is well: only the public key tells."""
    supervisor, key, worker, pid = recorded
    lie = SigningItem(key.public_key, Digest(b"lie".ljust(32)))
    right = item_for(key, 1)

    tasks = await calls_behind_a_busy_worker(
        supervisor,
        key,
        pid,
        supervisor.sign([right], timeout_seconds=20),
        supervisor.sign([right, lie], timeout_seconds=20),
    )
    neighbour, refused = await asyncio.gather(*tasks, return_exceptions=True)

    verify(right, neighbour[0])
    assert isinstance(refused, SignatureInvalidError)
    await eventually(lambda: supervisor.restarts == 1 and supervisor.healthy_workers == 1)
    assert [1, 3] == sizes(worker)


async def test_a_worker_that_lies_again_and_again_is_replaced_ever_more_slowly(
    script: Any, no_token: TokenSettings, start_supervisor: Any, eventually: Eventually
) -> None:
    """That it answers is no sign of health."""
    reasons: list[str] = []
    supervisor = await start_supervisor(
        no_token, worker_command=script("recording").command, limits=LIMITS, on_worker_lost=reasons.append
    )
    for round_ in (1, 2, 3):
        key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, f"online-{round_}")
        supervisor._slots[0]._failures = round_ - 1  # What generating has forgiven.
        with pytest.raises(SignatureInvalidError):
            await supervisor.sign([SigningItem(key.public_key, Digest(b"lie".ljust(32)))], timeout_seconds=20)
        await eventually(lambda expected=round_: supervisor.restarts == expected and supervisor.healthy_workers == 1)  # type: ignore[misc]
        assert round_ == supervisor._slots[0]._failures

    assert all("Do not trust this token" in reason for reason in reasons)


async def test_a_big_batch_is_signed_and_verified_in_parts(recorded: Any) -> None:
    supervisor, key, worker, _ = recorded
    items = [item_for(key, number) for number in range(100)]

    signatures = await supervisor.sign(items, timeout_seconds=20)

    for item, signature in zip(items, signatures, strict=True):
        verify(item, signature)
    assert [16] * 6 + [4] == sizes(worker)


async def test_a_request_has_a_ceiling_whatever_its_callers_deadline(
    script: Any, no_token: TokenSettings, start_supervisor: Any, worker_pids: Any
) -> None:
    limits = replace(LIMITS, ceiling=0.2)
    supervisor = await start_supervisor(no_token, worker_command=script("recording").command, limits=limits)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    os.kill(worker_pids(supervisor)[0], signal.SIGSTOP)

    with pytest.raises(TokenUnavailableError, match=r"did not answer within 0\.2 seconds and was killed"):
        await supervisor.sign([item_for(key, 1)], timeout_seconds=600)


async def test_a_call_with_time_left_goes_to_another_worker_when_one_hangs(
    softhsm: Any, start_supervisor: Any, worker_pids: Any, eventually: Eventually
) -> None:
    limits = replace(LIMITS, ceiling=1.0)
    supervisor = await start_supervisor(softhsm.settings, workers=2, limits=limits)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    for number in range(8):  # So that both workers have found the key.
        await asyncio.gather(*(supervisor.sign([item_for(key, number)], timeout_seconds=20) for _ in range(2)))
    os.kill(worker_pids(supervisor)[0], signal.SIGSTOP)
    items = [item_for(key, number) for number in range(4)]

    calls = [supervisor.sign([item], timeout_seconds=60) for item in items]

    for item, (signature,) in zip(items, await asyncio.gather(*calls), strict=True):
        verify(item, signature)
    await eventually(lambda: supervisor.restarts == 1 and supervisor.healthy_workers == 2)


async def test_without_time_left_the_token_is_not_asked(recorded: Any) -> None:
    supervisor, key, worker, _ = recorded

    for seconds in (0.004, 0, -1):
        with pytest.raises(TokenUnavailableError, match="too little to ask"):
            await supervisor.sign([item_for(key, 1)], timeout_seconds=seconds)

    assert not Path(worker.marker.with_suffix(".sizes")).exists()


async def test_overload_is_answered_at_once_and_passes(
    script: Any, no_token: TokenSettings, start_supervisor: Any, worker_pids: Any
) -> None:
    limits = replace(LIMITS, waiting_requests=8)
    supervisor = await start_supervisor(no_token, worker_command=script("recording").command, limits=limits)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    (pid,) = worker_pids(supervisor)
    os.kill(pid, signal.SIGSTOP)
    calls = [asyncio.create_task(supervisor.sign([item_for(key, n)], timeout_seconds=20)) for n in range(50)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)

    refused = [call for call in calls if call.done()]
    os.kill(pid, signal.SIGCONT)
    answered = await asyncio.gather(*(call for call in calls if call not in refused))

    assert all(isinstance(call.exception(), OverloadedError) for call in refused)
    assert (8, 42) == (len(answered), len(refused))
    verify(item_for(key, 1), (await supervisor.sign([item_for(key, 1)], timeout_seconds=20))[0])


async def test_attributes_and_destruction_go_through_the_worker(softhsm: Any, start_supervisor: Any) -> None:
    supervisor = await start_supervisor(softhsm.settings, workers=2)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere").public_key

    told = await supervisor.attributes(key.public_key)
    await supervisor.destroy(key.public_key)

    assert (key.public_key, True, "integration") == (told.public_key, told.never_extractable, told.token_label)
    assert [] == await supervisor.keys()
    for use in (supervisor.attributes, supervisor.destroy):
        with pytest.raises(KeyNotFoundError):
            await use(stranger)


async def test_a_worker_that_has_ended_is_not_killed_again(recorded: Any, eventually: Eventually) -> None:
    """Its process id may be another process's by then."""
    supervisor, _, _, pid = recorded
    worker = supervisor._slots[0]._worker
    os.kill(pid, signal.SIGKILL)
    await eventually(worker.ended.done)

    worker.condemn("too late")

    assert None is worker.condemned
