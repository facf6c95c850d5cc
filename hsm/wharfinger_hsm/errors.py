"""What can go wrong with a token.

    HsmError
    ├── ModuleMissingError       the PKCS#11 module is not there or cannot be loaded
    ├── TokenMissingError        the module shows no token, or more than one, of the configured label
    ├── TokenUriError            a PKCS#11 URI that is malformed, or says what it may not say (also a ValueError)
    ├── PinFileError             the PIN file is missing, unreadable, open to everybody, or malformed
    ├── WrongPinError            the token refused the PIN; never retried, because tokens lock after a few attempts
    ├── KeyNotFoundError         the token answers, and holds no usable key pair with this public key
    ├── KeyExistsError           an object with this label is there already
    ├── KeyNotDestroyedError     the token kept a key that it was told to destroy
    ├── UnsupportedItemError     the payload's kind or length does not fit the key, or the key cannot be used at all
    ├── SignatureInvalidError    the token returned a signature that its own public key refuses
    ├── OverloadedError          too many calls are waiting already; nothing was done
    └── TokenUnavailableError    the worker or the token is gone or overdue; worth repeating later

Messages name modules, labels, paths and key fingerprints, and never a PIN.
"""

from typing import ClassVar


class HsmError(Exception):
    """Root of this package's errors."""

    wire_name: ClassVar[str] = "hsm"
    """How the error is called between a worker and its supervisor."""


class ModuleMissingError(HsmError):
    wire_name = "module-missing"


class TokenMissingError(HsmError):
    wire_name = "token-missing"


class TokenUriError(HsmError, ValueError):
    wire_name = "token-uri"


class PinFileError(HsmError):
    wire_name = "pin-file"


class WrongPinError(HsmError):
    """The token refused the PIN. Retrying can lock the token for good: a person must look first."""

    wire_name = "wrong-pin"


class KeyNotFoundError(HsmError):
    """The token was asked, answered for itself, and has no such key. Not proof that the key was destroyed."""

    wire_name = "key-not-found"


class KeyExistsError(HsmError):
    wire_name = "key-exists"


class KeyNotDestroyedError(HsmError):
    wire_name = "key-not-destroyed"


class UnsupportedItemError(HsmError):
    wire_name = "unsupported-item"


class SignatureInvalidError(HsmError):
    wire_name = "signature-invalid"


class OverloadedError(HsmError):
    wire_name = "overloaded"


class TokenUnavailableError(HsmError):
    """The token cannot be used now.

    `retry_after_seconds`: when the supervisor will next have something new to say; a hint for callers, not a promise.
    """

    wire_name = "token-unavailable"

    def __init__(self, message: str, retry_after_seconds: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


CALLERS_FAULT: tuple[type[HsmError], ...] = (
    KeyNotFoundError,
    KeyExistsError,
    KeyNotDestroyedError,
    UnsupportedItemError,
)
"""Errors after which the worker and its session are as good as before."""

_BY_WIRE_NAME: dict[str, type[HsmError]] = {
    error.wire_name: error
    for error in (
        ModuleMissingError,
        TokenMissingError,
        TokenUriError,
        PinFileError,
        WrongPinError,
        KeyNotFoundError,
        KeyExistsError,
        KeyNotDestroyedError,
        UnsupportedItemError,
        SignatureInvalidError,
        OverloadedError,
        TokenUnavailableError,
    )
}


def error_from_wire(wire_name: str, message: str) -> HsmError:
    """The error a worker named. An unknown name says nothing about the session and becomes `TokenUnavailableError`."""
    return _BY_WIRE_NAME.get(wire_name, TokenUnavailableError)(message)
