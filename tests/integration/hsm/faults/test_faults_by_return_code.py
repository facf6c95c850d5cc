"""The one table of what tokens do wrong: each row done for real, and told in docs/reference/token-errors.md."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_module.faults import CKR, Fault, FaultModule
from tests.support.fault_module.signer import LIMITS, Signer, StartSigner
from wharfinger_daemon.custody.token_keys import HsmKeys
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.rpc.status import code_of
from wharfinger_hsm.errors import (
    HsmError,
    KeyNotDestroyedError,
    SignatureInvalidError,
    TokenMissingError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.model import KeyAlgorithm, TokenSettings

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "token-errors.md"
ANY_OTHER = "any other"
UNKNOWN_CODES = "codes that python-pkcs11 has no name for"

# What a module can do besides returning a code; the second word is the fault module's.
ACTIONS = {
    "crashes": ("crash", 0),
    "ends the process": ("exit", 3),
    "never returns": ("hang", 0),
    "is slow": ("delay", 50),
    "session expired": ("expire", 0),
    "wrong signature": ("flip", 0),
    "short signature": ("shorten", 1),
    "no signature": ("shorten", 1000),
    "no objects": ("hide", 0),
    "PIN locked": ("flag", 0x40000),
    "PIN's final try": ("flag", 0x20000),
    "done, but `CKR_DEVICE_ERROR`": ("late", CKR["CKR_DEVICE_ERROR"]),
    "done, but `CKR_USER_ALREADY_LOGGED_IN`": ("late", CKR["CKR_USER_ALREADY_LOGGED_IN"]),
}


class During(StrEnum):
    START = "start"
    REPLACING = "replacing a worker"
    LISTING = "listing keys"
    SIGNING = "signing"
    GENERATING = "generating a key"
    READING = "reading attributes"
    DESTROYING = "destroying a key"


class Worker(StrEnum):
    KEPT = "kept"
    REPLACED = "replaced"
    GIVEN_UP = "given up"
    STARTED = "started"
    NONE = "none"


class Pin(StrEnum):
    """How often C_Login is called because of the fault."""

    NEVER = "never"
    ONCE = "once"
    AGAIN = "again"


@dataclass(frozen=True)
class Row:
    """One row of the page: what each of `calls` does wrong, and what comes of it."""

    during: During
    calls: tuple[str, ...]
    wrong: tuple[str, ...]
    error: type[HsmError] | None
    worker: Worker
    pin: Pin
    sample: tuple[str, ...] = ()
    """What is injected, where that is not all of `wrong`."""

    @property
    def cells(self) -> tuple[str, ...]:
        calls = ", ".join(f"`{call}`" for call in self.calls)
        wrong = ", ".join(f"`{one}`" if one.startswith("CKR_") else one for one in self.wrong)
        error = "none" if self.error is None else f"`{self.error.__name__}`"
        return (self.during, calls, wrong, error, self.worker, self.pin, daemon_says(self))

    @property
    def faults(self) -> list[Fault]:
        return [fault(call, wrong) for call in self.calls for wrong in (self.sample or self.wrong)]

    @property
    def limits(self) -> dict[str, float]:
        """Times that a test can wait for, where something never returns."""
        return {"start": 2.0, "keys": 1.5, "allowance": 0.3} if "never returns" in self.wrong else {}


def fault(call: str, wrong: str) -> Fault:
    if wrong in ACTIONS:
        action, argument = ACTIONS[wrong]
        return Fault(call, action, argument)
    return Fault.returns(call, wrong)


def daemon_says(row: Row) -> str:
    """What reaches the daemon's callers, or the service manager."""
    if row.error is None:
        return ""
    if row.during is During.START:
        return "exit status 78" if row.error is WrongPinError else "exit status 2"
    if row.during in (During.GENERATING, During.READING, During.DESTROYING):
        return "the command fails"
    error = translated(row.error)
    return f"`{code_of(error).name}`, `{error.reason}`"


def translated(kind: type[HsmError]) -> WharfingerError:
    """The daemon's error for one of the supervisor's."""

    class Refusing:
        async def keys(self) -> Any:
            raise kind("injected")

    asking = HsmKeys(Refusing(), 1.0).public_keys()  # type: ignore[arg-type]
    with pytest.raises(WharfingerError) as raised:
        asking.send(None)
    return raised.value


OPENING = ("C_Initialize", "C_GetInfo", "C_GetSlotList", "C_GetSlotInfo", "C_GetTokenInfo", "C_OpenSession")
SEARCH = ("C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal")
DYING = ("crashes", "ends the process", "never returns")
TOKEN_GONE = ("CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_RECOGNIZED")
PIN_REFUSED = (
    *("CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_EXPIRED", "CKR_PIN_LOCKED"),
    *("CKR_PIN_TOO_WEAK", "CKR_USER_PIN_NOT_INITIALIZED"),
)
UNKNOWN = ("CKR_VENDOR_DEFINED", "CKR_TOKEN_RESOURCE_EXCEEDED")
DEVICE = ("CKR_DEVICE_ERROR", "CKR_DEVICE_MEMORY", "CKR_DEVICE_REMOVED")
FAILED = ("CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "CKR_HOST_MEMORY", "CKR_FUNCTION_CANCELED", *DEVICE)
SESSION = ("CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED", "CKR_USER_NOT_LOGGED_IN")
KEY_OR_PAYLOAD = (
    *("CKR_MECHANISM_INVALID", "CKR_MECHANISM_PARAM_INVALID", "CKR_KEY_SIZE_RANGE", "CKR_KEY_TYPE_INCONSISTENT"),
    *("CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_DATA_INVALID", "CKR_DATA_LEN_RANGE", "CKR_DOMAIN_PARAMS_INVALID"),
    "CKR_CURVE_NOT_SUPPORTED",
)
TEMPLATE = (
    *("CKR_ATTRIBUTE_READ_ONLY", "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_ATTRIBUTE_VALUE_INVALID"),
    *("CKR_TEMPLATE_INCOMPLETE", "CKR_TEMPLATE_INCONSISTENT"),
)
OTHER = (ANY_OTHER,)

START, REPLACING = During.START, During.REPLACING
TABLE = [
    # ---- The first worker ----
    Row(START, ("C_GetTokenInfo",), TOKEN_GONE, TokenMissingError, Worker.NONE, Pin.NEVER),
    Row(START, ("C_GetTokenInfo",), ("PIN locked", "PIN's final try"), WrongPinError, Worker.NONE, Pin.NEVER),
    Row(
        *(START, OPENING, OTHER, TokenUnavailableError, Worker.NONE, Pin.NEVER),
        sample=("CKR_GENERAL_ERROR", "CKR_DEVICE_ERROR", "CKR_VENDOR_DEFINED"),
    ),
    Row(START, ("C_Initialize", "C_OpenSession"), DYING, TokenUnavailableError, Worker.NONE, Pin.NEVER),
    Row(
        *(START, ("C_Login",), (*PIN_REFUSED, UNKNOWN_CODES), WrongPinError, Worker.NONE, Pin.ONCE),
        sample=(*PIN_REFUSED, *UNKNOWN),
    ),
    Row(
        *(START, ("C_Login",), ("done, but `CKR_USER_ALREADY_LOGGED_IN`",), None, Worker.STARTED, Pin.ONCE),
    ),
    Row(
        *(START, ("C_Login",), OTHER, TokenUnavailableError, Worker.NONE, Pin.ONCE),
        sample=(*FAILED, *SESSION, "CKR_FUNCTION_REJECTED", "CKR_ARGUMENTS_BAD", "CKR_USER_TYPE_INVALID"),
    ),
    Row(START, ("C_Login",), DYING, TokenUnavailableError, Worker.NONE, Pin.ONCE),
    Row(START, ("C_FindObjectsInit",), PIN_REFUSED, WrongPinError, Worker.NONE, Pin.ONCE),
    Row(
        *(START, SEARCH, OTHER, TokenUnavailableError, Worker.NONE, Pin.ONCE),
        sample=("CKR_DEVICE_ERROR", "CKR_USER_NOT_LOGGED_IN", "CKR_VENDOR_DEFINED"),
    ),
    # ---- Another worker in the place of a lost one ----
    Row(REPLACING, ("C_GetTokenInfo",), ("PIN locked", "PIN's final try"), WrongPinError, Worker.GIVEN_UP, Pin.NEVER),
    Row(
        *(REPLACING, OPENING, OTHER, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
        sample=("CKR_GENERAL_ERROR", "CKR_TOKEN_NOT_PRESENT", "CKR_VENDOR_DEFINED"),
    ),
    Row(
        *(REPLACING, ("C_Login",), (*PIN_REFUSED, UNKNOWN_CODES), WrongPinError, Worker.GIVEN_UP, Pin.ONCE),
        sample=(*PIN_REFUSED, *UNKNOWN),
    ),
    Row(
        *(REPLACING, ("C_Login",), OTHER, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
        sample=("CKR_GENERAL_ERROR", "CKR_DEVICE_REMOVED", "CKR_SESSION_CLOSED"),
    ),
    Row(REPLACING, ("C_Initialize", "C_Login"), DYING, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
    # ---- Listing keys ----
    Row(During.LISTING, ("C_FindObjectsInit",), PIN_REFUSED, WrongPinError, Worker.GIVEN_UP, Pin.NEVER),
    Row(
        *(During.LISTING, ("C_GetTokenInfo", *SEARCH, "C_GetAttributeValue"), OTHER),
        *(TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
        sample=(
            *("CKR_FUNCTION_FAILED", "CKR_USER_NOT_LOGGED_IN", "CKR_TOKEN_NOT_PRESENT", "CKR_VENDOR_DEFINED"),
            *("CKR_OBJECT_HANDLE_INVALID", "CKR_ATTRIBUTE_SENSITIVE"),
        ),
    ),
    Row(
        *(During.LISTING, ("C_FindObjects",), ("no objects", "session expired", *DYING)),
        *(TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
    ),
    # ---- Signing ----
    Row(During.SIGNING, ("C_SignInit", "C_Sign"), PIN_REFUSED, WrongPinError, Worker.GIVEN_UP, Pin.NEVER),
    Row(During.SIGNING, ("C_SignInit", "C_Sign"), KEY_OR_PAYLOAD, UnsupportedItemError, Worker.KEPT, Pin.NEVER),
    Row(
        *(During.SIGNING, ("C_SignInit", "C_Sign"), OTHER, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
        sample=(
            *(*FAILED, *SESSION, *UNKNOWN, "CKR_KEY_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID"),
            *("CKR_OPERATION_ACTIVE", "CKR_OPERATION_NOT_INITIALIZED", "CKR_BUFFER_TOO_SMALL", "CKR_ARGUMENTS_BAD"),
            *("CKR_FUNCTION_NOT_SUPPORTED", "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_FUNCTION_REJECTED"),
            *("CKR_KEY_EXHAUSTED", "CKR_ACTION_PROHIBITED", "CKR_TOKEN_NOT_PRESENT"),
        ),
    ),
    Row(
        *(During.SIGNING, ("C_SignInit", "C_Sign"), ("session expired", *DYING)),
        *(TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
    ),
    Row(
        *(During.SIGNING, ("C_Sign",), ("wrong signature", "short signature", "no signature")),
        *(SignatureInvalidError, Worker.REPLACED, Pin.AGAIN),
    ),
    Row(During.SIGNING, ("C_SignInit", "C_Sign"), ("is slow",), None, Worker.KEPT, Pin.NEVER),
    # ---- Generating ----
    Row(During.GENERATING, ("C_GenerateKeyPair",), PIN_REFUSED, WrongPinError, Worker.GIVEN_UP, Pin.NEVER),
    Row(
        *(During.GENERATING, ("C_GenerateKeyPair",), (*KEY_OR_PAYLOAD, *TEMPLATE)),
        *(UnsupportedItemError, Worker.KEPT, Pin.NEVER),
    ),
    Row(
        *(During.GENERATING, ("C_GenerateKeyPair",), OTHER, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
        sample=(
            *(*FAILED, *SESSION, *UNKNOWN, "CKR_SESSION_READ_ONLY", "CKR_TOKEN_WRITE_PROTECTED"),
            *("CKR_RANDOM_NO_RNG", "CKR_FIPS_SELF_TEST_FAILED", "done, but `CKR_DEVICE_ERROR`"),
        ),
    ),
    Row(During.GENERATING, ("C_GenerateKeyPair",), DYING, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
    # ---- Reading a key's attributes ----
    Row(
        *(During.READING, ("C_GetAttributeValue",), ("CKR_ATTRIBUTE_SENSITIVE", "CKR_ATTRIBUTE_TYPE_INVALID")),
        *(None, Worker.KEPT, Pin.NEVER),
    ),
    Row(
        *(During.READING, ("C_GetAttributeValue",), OTHER, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
        sample=("CKR_DEVICE_ERROR", "CKR_SESSION_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID", "CKR_VENDOR_DEFINED"),
    ),
    # ---- Destroying ----
    Row(During.DESTROYING, ("C_DestroyObject",), PIN_REFUSED, WrongPinError, Worker.GIVEN_UP, Pin.NEVER),
    Row(
        *(During.DESTROYING, ("C_DestroyObject",)),
        ("CKR_SESSION_READ_ONLY", "CKR_TOKEN_WRITE_PROTECTED", "CKR_ACTION_PROHIBITED"),
        *(KeyNotDestroyedError, Worker.KEPT, Pin.NEVER),
    ),
    Row(
        *(During.DESTROYING, ("C_DestroyObject",), OTHER, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
        sample=(*FAILED, *SESSION, *UNKNOWN, "CKR_OBJECT_HANDLE_INVALID", "done, but `CKR_DEVICE_ERROR`"),
    ),
    Row(During.DESTROYING, ("C_DestroyObject",), DYING, TokenUnavailableError, Worker.REPLACED, Pin.AGAIN),
]


def rows(*moments: During) -> list[Any]:
    return [pytest.param(row, id=identity(row)) for row in TABLE if row.during in moments]


def identity(row: Row) -> str:
    error = "goes on" if row.error is None else row.error.__name__
    return f"{row.during}: {row.calls[0]}: {row.wrong[0]}: {error}"


@pytest.mark.parametrize("row", rows(During.START))
async def test_what_goes_wrong_at_the_start(
    row: Row, start_supervisor: Any, faults: FaultModule, faulty_settings: TokenSettings
) -> None:
    for one in row.faults:
        sent = faults.calls("C_Login")
        faults.plan(one)
        error: type[HsmError] | None = None
        try:
            supervisor = await start_supervisor(faulty_settings, limits=replace(LIMITS, **row.limits))
        except HsmError as raised:
            error = type(raised)
        else:
            assert 1 == supervisor.healthy_workers

        assert (one, row.error) == (one, error)
        assert (one, int(row.pin is Pin.ONCE)) == (one, faults.calls("C_Login") - sent)


@pytest.mark.parametrize("row", rows(*[moment for moment in During if moment is not START]))
async def test_what_goes_wrong_while_it_runs(row: Row, start_signer: StartSigner, faults: FaultModule) -> None:
    signer = await start_signer(limits=row.limits)
    for one in row.faults:
        lost, sent = signer.supervisor.restarts, faults.calls("C_Login")
        faults.plan(one, *([Fault("C_Sign", "crash").once()] if row.during is REPLACING else []))

        assert (one, row.error) == (one, await outcome(ASKED[row.during](signer)))

        faults.plan()
        if row.worker is Worker.GIVEN_UP:
            for _ in range(3):
                assert (one, WrongPinError) == (one, await outcome(signer.sign()))
            assert (one, int(row.pin is Pin.ONCE)) == (one, faults.calls("C_Login") - sent)
            signer = await start_signer(limits=row.limits)
        elif row.worker is Worker.REPLACED:
            await signer.recover()
            assert signer.supervisor.restarts > lost, one
            assert faults.calls("C_Login") > sent, one
        else:
            await signer.sign()
            assert (one, lost, sent) == (one, signer.supervisor.restarts, faults.calls("C_Login"))


async def outcome(asked: Awaitable[object]) -> type[HsmError] | None:
    try:
        await asked
    except HsmError as error:
        return type(error)
    return None


async def sign_and_meet_the_replacement(signer: Signer) -> None:
    """The worker crashes; the second call waits for the next one, or is told why there is none."""
    assert TokenUnavailableError is await outcome(signer.sign())
    await signer.sign()


async def make_and_destroy(signer: Signer) -> None:
    key = await signer.supervisor.generate(KeyAlgorithm.ECDSA_P256, f"key-{next(_numbers)}")
    await signer.supervisor.destroy(key.public_key)


_numbers = count()
ASKED: dict[During, Callable[[Signer], Awaitable[object]]] = {
    REPLACING: sign_and_meet_the_replacement,
    During.LISTING: lambda signer: signer.supervisor.keys(),
    During.SIGNING: lambda signer: signer.sign(),
    During.READING: lambda signer: signer.supervisor.attributes(signer.key.public_key),
    During.DESTROYING: make_and_destroy,
    During.GENERATING: lambda signer: signer.supervisor.generate(KeyAlgorithm.ECDSA_P256, f"key-{next(_numbers)}"),
}


def test_the_page_has_these_rows_and_no_others() -> None:
    told = re.findall(
        r"^\| ((?:start|replacing|listing|signing|generating|reading|destroying).*) \|$", PAGE.read_text(), re.MULTILINE
    )

    assert [" | ".join(row.cells) for row in TABLE] == told
