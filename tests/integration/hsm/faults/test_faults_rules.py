"""The rules that keep a signer alive and a token unlocked, each with a real module that breaks one of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_module.faults import CKR, Fault, FaultModule
from tests.support.fault_module.signer import LIMITS, StartSigner
from wharfinger_hsm.errors import (
    HsmError,
    KeyNotFoundError,
    SignatureInvalidError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.model import Digest, KeyAlgorithm, SigningItem, TokenSettings
from wharfinger_hsm.supervisor import HsmSupervisor
from wharfinger_hsm.verification import verify


class RecordedLimits(SupervisorLimits):
    """The default limits: says which waits they demand, and waits next to nothing."""

    demanded: list[float]

    def backoff(self, failures: int) -> float:
        self.demanded.append(super().backoff(failures))
        return 0.001


@pytest.fixture
def recorded() -> RecordedLimits:
    limits = RecordedLimits()
    object.__setattr__(limits, "demanded", [])
    return limits


# ---- Back-off --------------------------------------------------------------------------------------------------------
async def test_back_off_doubles_from_a_tenth_of_a_second_to_thirty_seconds(
    start_supervisor: Any,
    faulty_settings: TokenSettings,
    faults: FaultModule,
    recorded: RecordedLimits,
    eventually: Any,
) -> None:
    supervisor = await start_supervisor(faulty_settings, limits=recorded)
    faults.plan(Fault.returns("C_FindObjectsInit", "CKR_DEVICE_REMOVED"))

    with pytest.raises(TokenUnavailableError):
        await supervisor.keys()

    await eventually(lambda: len(recorded.demanded) >= 11)
    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0] == recorded.demanded[:11]


async def test_back_off_starts_anew_after_a_success(
    start_supervisor: Any,
    faulty_settings: TokenSettings,
    faults: FaultModule,
    recorded: RecordedLimits,
    eventually: Any,
) -> None:
    supervisor = await start_supervisor(faulty_settings, limits=recorded)
    for _ in range(2):
        faults.plan(
            Fault.returns("C_Initialize", "CKR_DEVICE_REMOVED", times=2), Fault("C_GetTokenInfo", "crash").once()
        )
        with pytest.raises(TokenUnavailableError):
            await supervisor.keys()
        faults.plan(Fault.returns("C_Initialize", "CKR_DEVICE_REMOVED", times=2))
        await eventually(lambda: supervisor.healthy_workers == 1)
        await supervisor.keys()

    assert [0.1, 0.2, 0.4] * 2 == recorded.demanded


async def test_a_worker_that_logs_in_and_then_fails_each_call_backs_off_too(
    start_supervisor: Any,
    faulty_settings: TokenSettings,
    faults: FaultModule,
    recorded: RecordedLimits,
    eventually: Any,
) -> None:
    """Logging in is no success: a token whose signatures fail must not be logged in to ten times a second."""
    supervisor = await start_supervisor(faulty_settings, limits=recorded)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    faults.plan(Fault.returns("C_SignInit", "CKR_DEVICE_ERROR"))

    for lost in range(1, 6):
        with pytest.raises(TokenUnavailableError):
            await supervisor.sign([SigningItem(key.public_key, Digest(bytes(32)))], timeout_seconds=10)
        await eventually(lambda lost=lost: (supervisor.restarts, supervisor.healthy_workers) == (lost, 1))

    assert [0.1, 0.2, 0.4, 0.8, 1.6] == recorded.demanded


# ---- PINs ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", ["CKR_PIN_INCORRECT", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED"])
async def test_a_refused_pin_is_not_tried_by_any_other_worker(
    start_signer: StartSigner, faults: FaultModule, eventually: Any, code: str
) -> None:
    signer = await start_signer(workers=3)
    sent = faults.calls("C_Login")
    faults.plan(Fault.returns("C_Login", code), Fault("C_SignInit", "crash", times=3))
    for _ in range(2):
        with pytest.raises(HsmError):
            await asyncio.gather(*(signer.sign(number) for number in range(3)))

    await eventually(lambda: signer.supervisor.restarts == 3 and signer.supervisor.healthy_workers == 0)
    faults.plan()

    for _ in range(3):
        with pytest.raises(WrongPinError):
            await signer.sign()
    assert 1 == faults.calls("C_Login") - sent


async def test_a_pin_that_expires_under_one_session_leaves_the_others_alone(
    start_signer: StartSigner, faults: FaultModule
) -> None:
    """They may still sign; and nobody logs in again."""
    signer = await start_signer(workers=2)
    sent = faults.calls("C_Login")
    faults.plan(Fault.returns("C_SignInit", "CKR_PIN_EXPIRED").once())

    with pytest.raises(WrongPinError):
        await signer.sign()

    for number in range(5):
        await signer.sign(number)
    assert (1, sent) == (signer.supervisor.healthy_workers, faults.calls("C_Login"))


async def test_a_code_that_nobody_knows_at_the_log_in_counts_as_a_refused_pin(
    start_supervisor: Any, faults: FaultModule, faulty_settings: TokenSettings
) -> None:
    """A vendor's way to say "wrong PIN" must not be answered with the same PIN, ever faster, until the token locks."""
    faults.plan(Fault("C_Login", "return", 0x80000123))

    with pytest.raises(WrongPinError, match="0x80000123"):
        await start_supervisor(faulty_settings)


async def test_the_last_attempt_is_left_to_a_person(
    start_supervisor: Any, faults: FaultModule, faulty_settings: TokenSettings
) -> None:
    faults.plan(Fault("C_GetTokenInfo", "flag", 0x00020000))  # CKF_USER_PIN_FINAL_TRY

    with pytest.raises(WrongPinError):
        await start_supervisor(faulty_settings)

    assert 0 == faults.calls("C_Login")


# ---- Hanging ---------------------------------------------------------------------------------------------------------
async def test_a_call_that_hangs_is_killed_at_its_deadline_and_the_caller_told_to_retry(
    start_signer: StartSigner, faults: FaultModule, worker_pids: Any, eventually: Any
) -> None:
    signer = await start_signer(limits={"allowance": 0.2})
    (pid,) = worker_pids(signer.supervisor)
    faults.plan(Fault("C_Sign", "hang").once())

    with pytest.raises(TokenUnavailableError) as raised:
        await signer.sign()

    assert raised.value.retry_after_seconds > 0
    await eventually(lambda: not alive(pid))
    await signer.recover()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("call", ["C_Initialize", "C_OpenSession", "C_Login"])
async def test_a_module_that_hangs_at_the_start_is_given_up_after_the_limit(
    start_supervisor: Any, faults: FaultModule, faulty_settings: TokenSettings, call: str
) -> None:
    faults.plan(Fault(call, "hang"))

    with pytest.raises(TokenUnavailableError, match=r"did not log in within 0\.5 seconds"):
        await start_supervisor(faulty_settings, limits=replace(LIMITS, start=0.5))


async def test_a_replacement_that_hangs_in_c_initialize_does_not_stop_the_others(
    start_signer: StartSigner, faults: FaultModule, eventually: Any
) -> None:
    signer = await start_signer(workers=2)
    faults.plan(Fault("C_Initialize", "hang"), Fault("C_SignInit", "crash").once())
    await signer.sign()  # By the other worker.
    tried = faults.calls("C_Initialize")

    await eventually(lambda: faults.calls("C_Initialize") >= tried)
    for number in range(20):
        await signer.sign(number)
    assert 1 == signer.supervisor.healthy_workers


async def test_a_module_that_hangs_while_it_is_closed_does_not_stop_the_close(
    start_signer: StartSigner, faults: FaultModule, worker_pids: Any
) -> None:
    signer = await start_signer(limits={"stop": 0.2})
    (pid,) = worker_pids(signer.supervisor)
    faults.plan(Fault("C_Logout", "hang"), Fault("C_Finalize", "hang"))

    await signer.supervisor.close()

    assert not alive(pid)


# ---- Sessions, keys, crashes -----------------------------------------------------------------------------------------
async def test_a_session_that_expired_while_idle_costs_callers_nothing_when_another_worker_is_there(
    start_signer: StartSigner, faults: FaultModule, eventually: Any
) -> None:
    signer = await start_signer(workers=2)
    faults.plan(Fault("C_SignInit", "expire").once())

    await signer.sign()

    await eventually(lambda: signer.supervisor.healthy_workers == 2)
    assert 1 == signer.supervisor.restarts


async def test_a_session_that_expired_while_idle_is_one_retry_when_there_is_one_worker(
    start_signer: StartSigner, faults: FaultModule
) -> None:
    signer = await start_signer()
    faults.plan(Fault("C_SignInit", "expire").once())

    with pytest.raises(TokenUnavailableError, match="SessionHandleInvalid"):
        await signer.sign()

    await signer.sign()  # Waits for the replacement.


async def test_a_missing_key_is_not_a_deleted_key(start_signer: StartSigner, faults: FaultModule) -> None:
    """A token that shows fewer keys than before has lost them from view; nobody may conclude that they are gone."""
    signer = await start_signer()
    faults.plan(Fault("C_FindObjects", "hide"))

    with pytest.raises(TokenUnavailableError, match="no longer shows 1"):
        await signer.supervisor.keys()
    with pytest.raises(KeyNotFoundError):
        await signer.sign()  # A new session, to which the token shows nothing: all that can be said.

    faults.plan()
    await signer.recover()
    assert [signer.key] == await signer.supervisor.keys()


async def test_a_module_that_crashes_under_load_costs_no_signature_and_not_the_supervisor(
    start_signer: StartSigner, faults: FaultModule, eventually: Any
) -> None:
    signer = await start_signer(workers=2)
    crashes = [Fault("C_Sign", "crash", first=number, times=1) for number in (7, 40, 90)]
    faults.plan(*crashes)

    async def repeat(number: int) -> None:
        for _ in range(20):
            try:
                await signer.sign(number)
            except TokenUnavailableError as error:
                await asyncio.sleep(error.retry_after_seconds)
            else:
                return
        raise AssertionError("It never came.")

    await asyncio.gather(*(repeat(number) for number in range(60)))

    await eventually(lambda: signer.supervisor.healthy_workers == 2)
    assert signer.supervisor.restarts >= 1


async def test_what_a_lying_token_signs_is_never_given_out(start_signer: StartSigner, faults: FaultModule) -> None:
    """One flipped bit in one of many: none of them comes out."""
    signer = await start_signer()
    items = [signer.item(number) for number in range(30)]
    faults.plan(Fault("C_Sign", "flip", first=41, times=2))  # For one item: the length, and the bytes.

    with pytest.raises(SignatureInvalidError, match="Do not trust"):
        await signer.supervisor.sign(items, timeout_seconds=10)

    faults.plan()
    await signer.recover()
    for item, signature in zip(items, await signer.supervisor.sign(items, timeout_seconds=10), strict=True):
        verify(item, signature)


async def test_a_key_that_the_token_cannot_use_does_not_take_the_others_down(
    start_signer: StartSigner, faults: FaultModule
) -> None:
    """Its callers are told so; a worker lost for each such call would stop the signing with all other keys."""
    signer = await start_signer()
    for _ in range(5):
        faults.plan(Fault.returns("C_SignInit", "CKR_MECHANISM_INVALID").once())
        with pytest.raises(UnsupportedItemError):
            await signer.sign()
        await signer.sign()

    assert 0 == signer.supervisor.restarts


async def test_a_module_that_leaves_a_failed_operation_active_is_replaced(
    start_signer: StartSigner, faults: FaultModule
) -> None:
    """Against the standard, but seen: the next C_SignInit then says so, and one caller has to repeat."""
    signer = await start_signer()
    faults.plan(Fault("C_Sign", "late", CKR["CKR_DATA_LEN_RANGE"]).once())
    with pytest.raises(UnsupportedItemError):
        await signer.sign()

    with pytest.raises(TokenUnavailableError, match="OperationActive"):
        await signer.sign()

    await signer.recover()


async def test_a_key_whose_making_was_answered_with_an_error_may_exist_and_is_not_made_twice(
    start_signer: StartSigner, faults: FaultModule
) -> None:
    signer = await start_signer()
    faults.plan(Fault("C_GenerateKeyPair", "late", CKR["CKR_DEVICE_ERROR"]).once())

    with pytest.raises(TokenUnavailableError):
        await signer.supervisor.generate(KeyAlgorithm.ECDSA_P256, "perhaps")

    assert ["online", "perhaps"] == [key.label for key in await signer.supervisor.keys()]


FOREIGN_KEY = """
import sys, pkcs11
from pkcs11.attributes import AttributeMapper
mapper = AttributeMapper()
mapper.register_handler(pkcs11.Attribute.LABEL, bytes, bytes)
with pkcs11.lib(sys.argv[1]).get_token(token_label="integration").open(
    rw=True, user_pin=sys.argv[2], attribute_mapper=mapper
) as session:
    parameters = {pkcs11.Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}
    session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True).generate_keypair(
        store=True, label=b"Schl\\xfcssel", mechanism=pkcs11.Mechanism.EC_KEY_PAIR_GEN
    )
"""


async def test_a_label_that_is_not_utf_8_does_not_hide_our_keys(start_signer: StartSigner, softhsm: Any) -> None:
    """A token is shared: what others call their keys is no reason to stop."""
    signer = await start_signer()
    program = [sys.executable, "-c", FOREIGN_KEY, softhsm.settings.module, "integration-1234"]
    subprocess.run(program, env=softhsm.settings.environment, check=True)

    keys = await signer.supervisor.keys()

    assert ["Schl\N{REPLACEMENT CHARACTER}ssel", "online"] == [key.label for key in keys]
    await signer.sign()


def test_the_fault_module_is_built_without_warnings(fault_module: Path) -> None:
    assert fault_module.is_file()


async def test_the_fault_module_counts_calls(start_signer: StartSigner, faults: FaultModule) -> None:
    """What the other tests rely on: C_Sign is called for the length, then for the signature."""
    signer = await start_signer()
    before = faults.all_calls()

    await signer.sign()

    after = faults.all_calls()
    assert {"C_SignInit": 1, "C_Sign": 2} == {name: after[name] - before[name] for name in ("C_SignInit", "C_Sign")}
    assert isinstance(signer.supervisor, HsmSupervisor)
