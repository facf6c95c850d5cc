"""Loading a PKCS#11 module, choosing one of its tokens, and logging in, once."""

import logging
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import exceptions as refusal
from pkcs11.attributes import AttributeMapper
from pkcs11.constants import Attribute, TokenFlag

from wharfinger_hsm.errors import ModuleMissingError, TokenMissingError, TokenUnavailableError, WrongPinError
from wharfinger_hsm.model import TokenSettings
from wharfinger_hsm.return_codes import Doing, error_for

logger = logging.getLogger(__name__)

# CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED, which the library does not name.
_LAST_ATTEMPT = 0x00020000 | 0x00040000


@dataclass(frozen=True, slots=True)
class TokenDescription:
    """What a token and its module say of themselves."""

    label: str
    serial: str
    manufacturer: str
    model: str
    library: str


def load(module: Path) -> Any:
    """The module, initialised. Raises `ModuleMissingError` or `TokenUnavailableError`."""
    if not module.is_file():
        raise ModuleMissingError(f"There is no PKCS#11 module {module}. Install it, or correct the path.")
    try:
        return pkcs11.lib(str(module))
    except refusal.PKCS11Error as error:
        # The library has no class of its own for a failed dlopen(); this text is all there is to tell.
        if "while loading" in str(error):
            raise ModuleMissingError(f"{module} cannot be loaded as a PKCS#11 module: {error}") from error
        advice = "Check the module's own configuration; SoftHSM finds its through SOFTHSM2_CONF."
        raise TokenUnavailableError(f"{module} could not be initialised ({name(error)}). {advice}") from error


def log_in(library: Any, settings: TokenSettings, pin: str) -> Any:
    """A session that is logged in. The PIN is tried once, and not at all when one more wrong one would lock the token.

    Raises `TokenMissingError`, `WrongPinError` or `TokenUnavailableError`.
    """
    with translated(Doing.REACHING_TOKEN):
        token = choose(library, settings)
        if int(token.flags) & _LAST_ATTEMPT:
            raise WrongPinError(f"Token {token.label!r} is locked, or locks with the next wrong PIN: none was tried.")
        token.open().close()  # So that what fails next is the log-in itself.
    with translated(Doing.LOGGING_IN):
        try:
            return token.open(user_pin=pin, attribute_mapper=attribute_mapper())
        except refusal.UserAlreadyLoggedIn:  # Modules exist whose processes share a log-in.
            return token.open(attribute_mapper=attribute_mapper())


def choose(library: Any, settings: TokenSettings) -> Any:
    """The one token that the settings name, asked of the module anew.

    Raises `TokenMissingError`, which lists what the module shows, and `pkcs11.PKCS11Error`.
    """
    shown = list(_shown(library))
    fitting = [token for token in shown if _fits(token, settings)]
    if len(fitting) == 1:
        return fitting[0]
    found = "no token" if not fitting else f"{len(fitting)} tokens"
    names = "; ".join(f"{token.label!r} (serial {_text(token.serial)}, slot {token.slot.slot_id})" for token in shown)
    raise TokenMissingError(
        f"{library.so} shows {found} with {_wanted(settings)}. It shows: {names or 'no initialised token at all'}."
    )


def describe(library: Any, token: Any) -> TokenDescription:
    """Who made the token and the module, as they say."""
    version = ".".join(map(str, library.library_version))
    return TokenDescription(
        label=token.label,
        serial=_text(token.serial),
        manufacturer=token.manufacturer_id,
        model=token.model,
        library=f"{library.library_description} ({library.manufacturer_id}) {version}",
    )


def attribute_mapper() -> AttributeMapper:
    """python-pkcs11's, which cannot encode CKA_ALLOWED_MECHANISMS (CK_ULONGs) nor read mechanisms of vendors."""
    mapper = AttributeMapper()
    mapper.register_handler(
        Attribute.ALLOWED_MECHANISMS,
        lambda values: array("L", values).tobytes(),
        lambda packed: array("L", packed).tolist(),
    )
    # Other applications' labels need not be UTF-8, and must not hide our keys.
    mapper.register_handler(Attribute.LABEL, str.encode, lambda packed: packed.decode(errors="replace"))
    mapper.register_handler(
        Attribute.KEY_GEN_MECHANISM, lambda value: array("L", [value]).tobytes(), lambda packed: array("L", packed)[0]
    )
    return mapper


@contextmanager
def translated(doing: Doing) -> Iterator[None]:
    """Turns what the module returns into this package's errors."""
    try:
        yield
    except refusal.PKCS11Error as error:
        raise error_for(name(error), doing) from error


def name(error: refusal.PKCS11Error) -> str:
    """Most of the library's errors have a class and no text; those without a class have the code in the text."""
    return str(error) or type(error).__name__


def _shown(library: Any) -> Iterator[Any]:
    for slot in library.get_slots(token_present=True):
        # A reader whose card was drawn between the two calls shows none. Whatever else fails may hide the token.
        with suppress(refusal.TokenNotPresent, refusal.TokenNotRecognised):
            token = slot.get_token()
            # SoftHSM always shows one more, for the next token to be made in.
            if token.flags & TokenFlag.TOKEN_INITIALIZED:
                yield token


def _fits(token: Any, settings: TokenSettings) -> bool:
    pairs: tuple[tuple[object, object], ...] = (
        (settings.token_label, token.label),
        (settings.serial, _text(token.serial)),
        (settings.slot, token.slot.slot_id),
        (settings.manufacturer, token.manufacturer_id),
        (settings.model, token.model),
    )
    return all(wanted is None or wanted == told for wanted, told in pairs)


def _wanted(settings: TokenSettings) -> str:
    wanted = {
        "label": settings.token_label,
        "serial": settings.serial,
        "slot": settings.slot,
        "manufacturer": settings.manufacturer,
        "model": settings.model,
    }
    return ", ".join(f"{name} {value!r}" for name, value in wanted.items() if value is not None) or "any name"


def _text(serial: bytes) -> str:
    # CK_TOKEN_INFO pads with blanks; some modules pad with zero bytes.
    return serial.rstrip(b" \0").decode("utf-8", "replace")
