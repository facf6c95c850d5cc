"""Whatever goes wrong in whatever order: a call ends in a right signature or in a retryable error, and it heals."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fault_module.faults import Fault, FaultModule
from tests.support.fault_module.signer import Signer
from wharfinger_hsm.errors import KeyNotFoundError, SignatureInvalidError, TokenUnavailableError
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.model import KeyAlgorithm, TokenSettings
from wharfinger_hsm.softhsm import find_module
from wharfinger_hsm.supervisor import HsmSupervisor

CALLS = (
    *("C_Initialize", "C_GetSlotList", "C_GetTokenInfo", "C_OpenSession", "C_Login", "C_FindObjectsInit"),
    *("C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue", "C_SignInit", "C_Sign"),
)
# Neither a refused PIN, which is meant to last, nor what says that the key or the payload is at fault.
CODES = (
    *("CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "CKR_DEVICE_ERROR", "CKR_DEVICE_REMOVED", "CKR_HOST_MEMORY"),
    *("CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED", "CKR_USER_NOT_LOGGED_IN", "CKR_OBJECT_HANDLE_INVALID"),
    *("CKR_OPERATION_ACTIVE", "CKR_BUFFER_TOO_SMALL", "CKR_TOKEN_NOT_PRESENT", "CKR_CRYPTOKI_NOT_INITIALIZED"),
)
# A worker that is killed although it was only slow is one more fault to survive.
HASTY = SupervisorLimits(
    start=2.0, allowance=0.3, allowance_per_item=0.0, first_backoff=0.005, longest_backoff=0.05, keys=2.0
)


def faults_of(call: str) -> st.SearchStrategy[Fault]:
    codes = st.sampled_from(CODES).map(lambda code: Fault.returns(call, code))
    acts = [Fault(call, "crash"), Fault(call, "exit"), Fault(call, "delay", 20), Fault(call, "expire")]
    if call != "C_Initialize":
        acts.append(Fault(call, "hang"))
    if call == "C_Sign":
        acts += [Fault(call, "flip"), Fault(call, "shorten", 1), Fault(call, "late", 0x30)]
    if call == "C_FindObjects":
        acts.append(Fault(call, "hide"))
    return codes | st.sampled_from(acts)


def placed(fault: Fault) -> st.SearchStrategy[Fault]:
    return st.builds(
        lambda first, times: Fault(fault.call, fault.action, fault.argument, first, times),
        st.integers(1, 12),
        st.integers(1, 4),
    )


PLANS = st.lists(st.sampled_from(CALLS).flatmap(faults_of).flatmap(placed), min_size=1, max_size=5)
_numbers = itertools.count()


async def live_through(plan: list[Fault], token: TokenSettings, faults: FaultModule) -> None:
    faults.plan()
    supervisor = HsmSupervisor(token, workers=2, limits=HASTY)
    await supervisor.start()
    try:
        keys = await supervisor.keys()
        key = keys[0] if keys else await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
        signer = Signer(supervisor, key, faults, 1.0)
        faults.plan(*plan)
        await asyncio.gather(*(repeat(signer) for _ in range(6)))
        faults.plan()
        await signer.recover()
    finally:
        await supervisor.close()


async def repeat(signer: Signer) -> None:
    for _ in range(4):
        try:
            await signer.sign(next(_numbers))  # Verifies.
        except (SignatureInvalidError, KeyNotFoundError):
            # The token lied, and was caught; or showed a new session nothing. The daemon's callers get UNAVAILABLE.
            await asyncio.sleep(0.01)
        except TokenUnavailableError as error:
            assert error.retry_after_seconds > 0
            await asyncio.sleep(0.01)


@pytest.fixture
def place(fault_module: Path, tmp_path: Path, softhsm: Any) -> tuple[TokenSettings, FaultModule]:
    faults = FaultModule(fault_module, tmp_path / "faults", find_module())
    return faults.in_front_of(softhsm.settings), faults


FUZZED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(FUZZED, max_examples=12)
@given(plan=PLANS)
def test_random_faults_never_cause_a_wrong_signature_and_always_heal(
    place: tuple[TokenSettings, FaultModule], plan: list[Fault]
) -> None:
    asyncio.run(live_through(plan, *place))


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(FUZZED, max_examples=300)
@given(plan=PLANS)
def test_very_many_random_faults_never_cause_a_wrong_signature_and_always_heal(
    place: tuple[TokenSettings, FaultModule], plan: list[Fault]
) -> None:
    asyncio.run(live_through(plan, *place))
