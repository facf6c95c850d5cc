"""What the return codes of a PKCS#11 module mean: the one table from them to `errors`.

A code goes by the name of its exception in python-pkcs11 (CKR_PIN_LOCKED is `PinLocked`), or by "Unmapped error code
0x..." where the library has none. docs/reference/token-errors.md explains every row.
"""

from enum import StrEnum

from wharfinger_hsm.errors import (
    HsmError,
    KeyNotDestroyedError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)


class Doing(StrEnum):
    """What the token was asked for."""

    REACHING_TOKEN = "opening a session"  # noqa: S105 - no password
    LOGGING_IN = "logging in"
    LISTING_KEYS = "listing keys"
    GENERATING = "generating a key"
    SIGNING = "signing"
    READING_ATTRIBUTES = "reading a key's attributes"
    DESTROYING = "destroying a key"


PIN_REFUSED = frozenset(
    {
        "PinIncorrect",
        "PinInvalid",
        "PinLenRange",
        "PinExpired",
        "PinLocked",
        "PinTooWeak",
        "UserPinNotInitialized",
    }
)
"""What counts against the token's limit of attempts, or says that the limit was reached, whatever the call."""

CANNOT_DO = frozenset(
    {
        "MechanismInvalid",
        "MechanismParamInvalid",
        "DomainParamsInvalid",
        "KeySizeRange",
        "KeyTypeInconsistent",
        "DataInvalid",
        "DataLenRange",
        "Unmapped error code 0x68",  # CKR_KEY_FUNCTION_NOT_PERMITTED
        "Unmapped error code 0x140",  # CKR_CURVE_NOT_SUPPORTED
    }
)
"""What will be so tomorrow, and says nothing against the session: replacing the worker would only harm other keys."""

REFUSED_TEMPLATE = frozenset(
    {
        "AttributeReadOnly",
        "AttributeTypeInvalid",
        "AttributeValueInvalid",
        "TemplateIncomplete",
        "TemplateInconsistent",
    }
)
"""The token does not make keys with these attributes."""

KEPT = frozenset({"SessionReadOnly", "TokenWriteProtected", "Unmapped error code 0x1b"})  # CKR_ACTION_PROHIBITED
"""The token lets nobody destroy this object, or any."""

_UNMAPPED = "Unmapped error code"


def error_for(name: str, doing: Doing) -> HsmError:
    """The error to raise after the module returned the code of this name. The session may be used again only after an
    `UnsupportedItemError`."""
    # A code that nobody knows may be a vendor's way to refuse a PIN. Whoever guesses locks the token.
    if name in PIN_REFUSED or (doing is Doing.LOGGING_IN and name.startswith(_UNMAPPED)):
        advice = "It will not be tried again: correct the PIN file, make sure that the token is not locked."
        return WrongPinError(f"The token refused the PIN while {doing} ({name}). {advice}")
    if name in CANNOT_DO and doing is Doing.SIGNING:
        return UnsupportedItemError(f"The token cannot sign with this key, or not this payload ({name}).")
    if name in CANNOT_DO | REFUSED_TEMPLATE and doing is Doing.GENERATING:
        return UnsupportedItemError(f"The token cannot make such a key ({name}).")
    if name in KEPT and doing is Doing.DESTROYING:
        return KeyNotDestroyedError(f"The token does not let the key be destroyed ({name}).")
    return TokenUnavailableError(f"The token failed while {doing} ({name}).")
