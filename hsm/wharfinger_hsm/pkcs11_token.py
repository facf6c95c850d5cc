"""A token behind a PKCS#11 module. The only module that imports `pkcs11`.

It runs in a worker process, on one thread: python-pkcs11 initialises modules without CKF_OS_LOCKING_OK and releases
the GIL in each call, so that two threads crash SoftHSM. One session stays logged in for as long as the token is open:
log-in belongs to the application, and ending the session that logged in takes every other session's keys away.

After `TokenUnavailableError` nothing here is repaired: a failed C_Sign can leave its operation active, handles die
with the session, and modules cache what they saw. Whoever called closes the token, or better ends the process, and
starts again.
"""

import logging
import secrets
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pkcs11
from pkcs11 import exceptions as refusal
from pkcs11.attributes import AttributeMapper
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import MGF, KeyType, Mechanism
from pkcs11.util.ec import encode_ecdsa_signature

from wharfinger_hsm import spki
from wharfinger_hsm.errors import (
    KeyExistsError,
    KeyNotFoundError,
    ModuleMissingError,
    TokenMissingError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.labels import check_label
from wharfinger_hsm.model import KeyAlgorithm, SigningItem, TokenKey, fingerprint
from wharfinger_hsm.verification import check_item, read_public_key, verify

logger = logging.getLogger(__name__)

# Everything that counts against the token's limit of attempts, or says that the limit was reached.
_PIN_ERRORS: tuple[type[refusal.PKCS11Error], ...] = (refusal.PinIncorrect, refusal.PinLocked, refusal.PinExpired)
_PIN_ERRORS += (refusal.PinInvalid, refusal.PinLenRange, refusal.UserPinNotInitialized)
_TEMPLATE_ERRORS: tuple[type[refusal.PKCS11Error], ...] = (refusal.AttributeReadOnly, refusal.AttributeTypeInvalid)
_TEMPLATE_ERRORS += (refusal.AttributeValueInvalid, refusal.TemplateInconsistent)
_CANNOT_DO = (
    refusal.MechanismInvalid,
    refusal.MechanismParamInvalid,
    refusal.DomainParamsInvalid,
    refusal.KeySizeRange,
)

_PSS_PARAM = (Mechanism.SHA256, MGF.SHA256, 32)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How one algorithm is spelt in PKCS#11.

    Mechanism and parameter are always given: the library's defaults are SHA-1 and CKM_ECDSA_SHA512. SoftHSM 2.6.1 has
    none of the ECDSA mechanisms that hash, so all but Ed25519 sign a digest.
    """

    key_type: KeyType
    generate: Mechanism
    sign: Mechanism
    sign_param: Any
    size: bytes | int  # CKA_EC_PARAMS, or the length of the RSA modulus in bits


_EC = (KeyType.EC, Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA, None)
_EDWARDS = (KeyType.EC_EDWARDS, Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.EDDSA, None)
_RSA = (KeyType.RSA, Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.RSA_PKCS_PSS, _PSS_PARAM)
_RECIPES = {
    KeyAlgorithm.ECDSA_P256: _Recipe(*_EC, spki.P256_PARAMS),
    KeyAlgorithm.ECDSA_P384: _Recipe(*_EC, spki.P384_PARAMS),
    KeyAlgorithm.ED25519: _Recipe(*_EDWARDS, spki.ED25519_PARAMS),
    KeyAlgorithm.RSA_PSS_2048: _Recipe(*_RSA, 2048),
    KeyAlgorithm.RSA_PSS_3072: _Recipe(*_RSA, 3072),
    KeyAlgorithm.RSA_PSS_4096: _Recipe(*_RSA, 4096),
}

# Without these there is no key. Decrypt, unwrap and derive are switched off by the capabilities.
REQUIRED_PRIVATE: dict[Attribute, object] = {Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True}
# Added, together with CKA_ALLOWED_MECHANISMS, where the token accepts them.
WANTED_PRIVATE: dict[Attribute, object] = dict.fromkeys(
    (Attribute.MODIFIABLE, Attribute.COPYABLE, Attribute.SIGN_RECOVER), False
)


@dataclass(frozen=True, slots=True)
class _Pair:
    key: TokenKey
    sign: Callable[[bytes], bytes]


class Pkcs11Token:
    """Implements `Token` on a PKCS#11 module. One for each process and module: closing it finalises the module."""

    def __init__(self, library: Any, session: Any, token_label: str) -> None:
        self._library = library
        self._session: Any = session
        self._token_label = token_label
        self._pairs: dict[bytes, _Pair] = {}

    @classmethod
    def open(cls, module: Path, token_label: str, pin: str) -> Self:
        """Loads the module, finds the token by its label, and logs in, once.

        Raises `ModuleMissingError`, `TokenMissingError`, `WrongPinError`, or `TokenUnavailableError` for the rest.
        """
        library = _load(module)
        try:
            opened = cls(library, _log_in(library, token_label, pin), token_label)
            opened.keys()
        except BaseException:
            with suppress(refusal.PKCS11Error):
                library.finalize()
            raise
        return opened

    def keys(self) -> list[TokenKey]:
        with _unavailable("listing keys"):
            found = {pair.key.public_key: pair for pair in self._read_pairs()}
            # An empty answer alone proves nothing: this raises unless the module still reaches the token.
            self._library.get_token(token_label=self._token_label)
        missing = self._pairs.keys() - found.keys()
        if missing:
            # Modules cache, and searches fail silently: do not believe this session any more.
            raise TokenUnavailableError(f"The token no longer shows {len(missing)} of its keys in this session.")
        self._pairs = found | self._pairs
        return sorted((pair.key for pair in found.values()), key=lambda key: (key.label, key.public_key))

    def find(self, public_key: bytes) -> TokenKey:
        return self._pair(public_key).key

    def generate(self, algorithm: KeyAlgorithm, label: str) -> TokenKey:
        check_label(label)
        with _unavailable("generating a key"):
            if next(iter(self._open_session().get_objects({Attribute.LABEL: label})), None) is not None:
                raise KeyExistsError(f"The token has an object labelled {label!r} already. Choose another label.")
            # Only this needs a session that may write; it inherits the log-in, and closing it logs nobody out.
            session = self._session.token.open(rw=True, attribute_mapper=_attribute_mapper())
            try:
                public, private = _generate(session, _RECIPES[algorithm], label)
                if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
                    private.destroy()
                    public.destroy()
                    raise UnsupportedItemError("The token makes keys that can leave it; the new key was destroyed.")
                public_key = _public_key(public)
            finally:
                session.close()
        return self.find(public_key)

    def sign(self, items: Sequence[SigningItem]) -> list[bytes]:
        for item in items:
            check_item(item)
        pairs = [self._pair(item.public_key) for item in items]
        signatures = []
        for pair, item in zip(pairs, items, strict=True):
            with _unavailable("signing"):
                signature = pair.sign(item.payload.value)
            verify(item, signature)
            signatures.append(signature)
        return signatures

    def close(self) -> None:
        if self._session is None:
            return
        session, self._session, self._pairs = self._session, None, {}
        # A dead token cannot say goodbye; C_Finalize drops what C_CloseSession could not.
        with suppress(refusal.PKCS11Error):
            session.close()
        with suppress(refusal.PKCS11Error):
            self._library.finalize()

    def _open_session(self) -> Any:
        if self._session is None:
            raise TokenUnavailableError("The token is closed.")
        return self._session

    def _pair(self, public_key: bytes) -> _Pair:
        self._open_session()
        if public_key not in self._pairs:
            self.keys()
        try:
            return self._pairs[public_key]
        except KeyError:
            unknown = fingerprint(public_key)
            raise KeyNotFoundError(f"Token {self._token_label!r} holds no usable key {unknown}.") from None

    def _read_pairs(self) -> Iterator[_Pair]:
        session = self._open_session()
        by_id: dict[bytes, list[Any]] = {}
        for private in list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.SIGN: True})):
            by_id.setdefault(private[Attribute.ID], []).append(private)
        for public in list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})):
            try:
                public_key = _public_key(public)
                _, algorithm = read_public_key(public_key)
            except UnsupportedItemError:
                continue  # Another application's key.
            key_id, label = public[Attribute.ID], public[Attribute.LABEL]
            recipe = _RECIPES[algorithm]
            privates = [key for key in by_id.get(key_id, []) if key[Attribute.KEY_TYPE] == recipe.key_type]
            if len(privates) == 1:
                yield _Pair(TokenKey(public_key, algorithm, label, key_id), _signer(privates[0], recipe))
            else:
                logger.warning("Key %r is ignored: %d private keys have its CKA_ID.", label, len(privates))


def _load(module: Path) -> Any:
    if not module.is_file():
        raise ModuleMissingError(f"There is no PKCS#11 module {module}. Install it, or correct the path.")
    try:
        return pkcs11.lib(str(module))
    except refusal.PKCS11Error as error:
        # The library has no class of its own for a failed dlopen(); this text is all there is to tell.
        if "while loading" in str(error):
            raise ModuleMissingError(f"{module} cannot be loaded as a PKCS#11 module: {error}") from error
        advice = "Check the module's own configuration; SoftHSM finds its through SOFTHSM2_CONF."
        raise TokenUnavailableError(f"{module} could not be initialised ({_name(error)}). {advice}") from error


def _log_in(library: Any, token_label: str, pin: str) -> Any:
    with _unavailable("logging in"):
        try:
            token = library.get_token(token_label=token_label)
            return token.open(user_pin=pin, attribute_mapper=_attribute_mapper())
        except (refusal.NoSuchToken, refusal.MultipleTokensReturned) as error:
            raise TokenMissingError(f"{library.so}, token {token_label!r}: {_name(error)}.") from error
        except _PIN_ERRORS as error:
            advice = "It will not be tried again: correct the PIN file, make sure that the token is not locked."
            raise WrongPinError(f"Token {token_label!r} refused the PIN ({_name(error)}). {advice}") from error


def _generate(session: Any, recipe: _Recipe, label: str) -> tuple[Any, Any]:
    """Tries the strictest template, then without what only some tokens know. A refused template makes no key."""
    generate = session.generate_keypair
    arguments: dict[str, Any] = {"key_type": recipe.key_type, "key_length": recipe.size}
    if isinstance(recipe.size, bytes):
        parameters = {Attribute.EC_PARAMS: recipe.size}
        generate = session.create_domain_parameters(recipe.key_type, parameters, local=True).generate_keypair
        arguments = {}
    arguments |= {"id": secrets.token_bytes(16), "label": label, "store": True, "mechanism": recipe.generate}
    arguments |= {"capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY}
    wanted: dict[Attribute, object] = WANTED_PRIVATE | {Attribute.ALLOWED_MECHANISMS: (recipe.sign,)}
    try:
        try:
            pair: tuple[Any, Any] = generate(**arguments, private_template=REQUIRED_PRIVATE | wanted)
        except _TEMPLATE_ERRORS as error:
            names = ", ".join(map(str, wanted))
            logger.warning("The token refuses one of %s (%s): key %r goes without.", names, _name(error), label)
            pair = generate(**arguments, private_template=REQUIRED_PRIVATE)
    except _CANNOT_DO as error:
        raise UnsupportedItemError(f"The token cannot make such a key ({_name(error)}).") from error
    return pair


def _signer(private: Any, recipe: _Recipe) -> Callable[[bytes], bytes]:
    # Each key object has a class of its own, and reads CKA_KEY_TYPE from the token for each signature, two calls:
    # answer it once and for all.
    type(private).key_type = recipe.key_type
    if recipe.key_type is KeyType.EC:
        return lambda payload: encode_ecdsa_signature(private.sign(payload, mechanism=recipe.sign))
    return lambda payload: bytes(private.sign(payload, mechanism=recipe.sign, mechanism_param=recipe.sign_param))


def _public_key(public: Any) -> bytes:
    key_type = public[Attribute.KEY_TYPE]
    if key_type == KeyType.RSA:
        return spki.from_rsa_attributes(public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT])
    if key_type in (KeyType.EC, KeyType.EC_EDWARDS):
        return spki.from_ec_attributes(public[Attribute.EC_PARAMS], public[Attribute.EC_POINT])
    raise UnsupportedItemError("The key is neither EC, Edwards nor RSA.")


def _attribute_mapper() -> AttributeMapper:
    """python-pkcs11 names CKA_ALLOWED_MECHANISMS and cannot encode it: an array of CK_ULONG."""
    mapper = AttributeMapper()
    pack, unpack = lambda values: array("L", values).tobytes(), lambda packed: array("L", packed).tolist()
    mapper.register_handler(Attribute.ALLOWED_MECHANISMS, pack, unpack)
    return mapper


@contextmanager
def _unavailable(doing: str) -> Iterator[None]:
    try:
        yield
    except refusal.PKCS11Error as error:
        raise TokenUnavailableError(f"The token failed while {doing} ({_name(error)}).") from error


def _name(error: refusal.PKCS11Error) -> str:
    """Most of the library's errors have a class and no text; those without a class have the code in the text."""
    return str(error) or type(error).__name__
