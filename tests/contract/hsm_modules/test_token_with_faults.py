"""The token without workers, on a module that fails: what it makes of it in its own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.fault_module.faults import CKR, Fault, FaultModule
from wharfinger_hsm.errors import TokenUnavailableError, UnsupportedItemError, WrongPinError
from wharfinger_hsm.model import Digest, KeyAlgorithm, SigningItem
from wharfinger_hsm.pkcs11_token import Pkcs11Token

OpenToken = Callable[[], Pkcs11Token]


@pytest.fixture
def faults(fault_module: FaultModule) -> Iterator[FaultModule]:
    yield fault_module
    fault_module.plan()


@pytest.mark.parametrize("flag", [0x00020000, 0x00040000], ids=["CKF_USER_PIN_FINAL_TRY", "CKF_USER_PIN_LOCKED"])
def test_no_pin_is_sent_to_a_token_that_is_locked_or_about_to_be(
    open_faulty: OpenToken, faults: FaultModule, flag: int
) -> None:
    sent = faults.calls("C_Login")
    faults.plan(Fault("C_GetTokenInfo", "flag", flag))

    with pytest.raises(WrongPinError, match="none was tried"):
        open_faulty()

    assert sent == faults.calls("C_Login")


def test_a_log_in_that_another_process_made_is_good(open_faulty: OpenToken, faults: FaultModule) -> None:
    """Modules exist whose processes share it: all but the first are told CKR_USER_ALREADY_LOGGED_IN."""
    faults.plan(Fault("C_Login", "late", CKR["CKR_USER_ALREADY_LOGGED_IN"]))
    token = open_faulty()

    key = token.generate(KeyAlgorithm.ECDSA_P256, "shared log-in")

    assert 1 == len(token.sign([SigningItem(key.public_key, Digest(bytes(32)))]))


def test_attributes_that_the_token_refuses_to_tell_are_unknown(open_faulty: OpenToken, faults: FaultModule) -> None:
    token = open_faulty()
    key = token.generate(KeyAlgorithm.ECDSA_P256, "silent")
    faults.plan(Fault.returns("C_GetAttributeValue", "CKR_ATTRIBUTE_TYPE_INVALID"))

    told = token.attributes(key.public_key)

    assert (None, None, None) == (told.local, told.extractable, told.allowed_mechanisms)


def test_attributes_refused_all_together_are_asked_one_by_one(open_faulty: OpenToken, faults: FaultModule) -> None:
    token = open_faulty()
    key = token.generate(KeyAlgorithm.ECDSA_P256, "shy")
    # The lengths, then the values: both calls of the one question for all.
    faults.plan(Fault.returns("C_GetAttributeValue", "CKR_ATTRIBUTE_TYPE_INVALID", times=2))

    told = token.attributes(key.public_key)

    assert (True, False) == (told.local, told.extractable)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("CKR_PIN_EXPIRED", WrongPinError),
        ("CKR_MECHANISM_INVALID", UnsupportedItemError),
        ("CKR_DEVICE_ERROR", TokenUnavailableError),
    ],
)
def test_a_code_becomes_the_error_that_it_means(
    open_faulty: OpenToken, faults: FaultModule, code: str, error: type[Exception]
) -> None:
    token = open_faulty()
    key = token.generate(KeyAlgorithm.ECDSA_P256, f"meets {code}")
    faults.plan(Fault.returns("C_SignInit", code))

    with pytest.raises(error):
        token.sign([SigningItem(key.public_key, Digest(bytes(32)))])
