"""The table of return codes: its names are the library's, and each row means what it says."""

import pytest
from pkcs11 import exceptions

from wharfinger_hsm.errors import (
    HsmError,
    KeyNotDestroyedError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.return_codes import CANNOT_DO, KEPT, PIN_REFUSED, REFUSED_TEMPLATE, Doing, error_for

UNKNOWN = "Unmapped error code 0x80000001"


@pytest.mark.parametrize("name", sorted(PIN_REFUSED | CANNOT_DO | REFUSED_TEMPLATE | KEPT))
def test_every_name_is_an_exception_of_the_library_or_an_unmapped_code(name: str) -> None:
    """A name that the library spells otherwise would never match: a refused PIN would be tried again."""
    if name.startswith("Unmapped error code "):
        int(name.removeprefix("Unmapped error code "), 16)
    else:
        assert issubclass(getattr(exceptions, name), exceptions.PKCS11Error)


@pytest.mark.parametrize("doing", Doing)
@pytest.mark.parametrize("name", sorted(PIN_REFUSED))
def test_a_refused_pin_is_one_whatever_the_call(name: str, doing: Doing) -> None:
    assert WrongPinError is type(error_for(name, doing))


@pytest.mark.parametrize(
    ("name", "doing", "error"),
    [
        (UNKNOWN, Doing.LOGGING_IN, WrongPinError),
        *((UNKNOWN, doing, TokenUnavailableError) for doing in Doing if doing is not Doing.LOGGING_IN),
        ("MechanismInvalid", Doing.SIGNING, UnsupportedItemError),
        ("MechanismInvalid", Doing.GENERATING, UnsupportedItemError),
        ("MechanismInvalid", Doing.LOGGING_IN, TokenUnavailableError),
        ("MechanismInvalid", Doing.LISTING_KEYS, TokenUnavailableError),
        ("TemplateInconsistent", Doing.GENERATING, UnsupportedItemError),
        ("TemplateInconsistent", Doing.SIGNING, TokenUnavailableError),
        ("TokenWriteProtected", Doing.DESTROYING, KeyNotDestroyedError),
        ("TokenWriteProtected", Doing.GENERATING, TokenUnavailableError),
        *(("DeviceError", doing, TokenUnavailableError) for doing in Doing),
        *(("ObjectHandleInvalid", doing, TokenUnavailableError) for doing in Doing),
    ],
)
def test_a_code_means_what_the_call_makes_of_it(name: str, doing: Doing, error: type[HsmError]) -> None:
    raised = error_for(name, doing)

    assert error is type(raised)
    assert name in str(raised)
