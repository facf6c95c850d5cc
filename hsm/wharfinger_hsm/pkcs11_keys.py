"""Key pairs in PKCS#11: how each algorithm is spelt, how pairs are made, used, told of and told apart."""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import exceptions as refusal
from pkcs11.constants import DEFAULT, Attribute, MechanismFlag
from pkcs11.mechanisms import MGF, KeyType, Mechanism

from wharfinger_hsm import spki
from wharfinger_hsm.errors import UnsupportedItemError
from wharfinger_hsm.model import KeyAlgorithm, KeyAttributes, TokenKey
from wharfinger_hsm.pkcs11_session import TokenDescription, name

logger = logging.getLogger(__name__)

_TEMPLATE_ERRORS: tuple[type[refusal.PKCS11Error], ...] = (refusal.AttributeReadOnly, refusal.AttributeTypeInvalid)
_TEMPLATE_ERRORS += (refusal.AttributeValueInvalid, refusal.TemplateInconsistent)

_PSS_PARAM = (Mechanism.SHA256, MGF.SHA256, 32)


@dataclass(frozen=True, slots=True)
class Recipe:
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
RECIPES = {
    KeyAlgorithm.ECDSA_P256: Recipe(*_EC, spki.P256_PARAMS),
    KeyAlgorithm.ECDSA_P384: Recipe(*_EC, spki.P384_PARAMS),
    KeyAlgorithm.ED25519: Recipe(*_EDWARDS, spki.ED25519_PARAMS),
    KeyAlgorithm.RSA_PSS_2048: Recipe(*_RSA, 2048),
    KeyAlgorithm.RSA_PSS_3072: Recipe(*_RSA, 3072),
    KeyAlgorithm.RSA_PSS_4096: Recipe(*_RSA, 4096),
}

# Without these there is no key.
REQUIRED_PRIVATE: dict[Attribute, object] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}
# Added, together with CKA_ALLOWED_MECHANISMS, as far as the token accepts them; the first are given up last.
WANTED_PRIVATE: dict[Attribute, object] = dict.fromkeys(
    (
        Attribute.DECRYPT,
        Attribute.UNWRAP,
        Attribute.DERIVE,
        Attribute.SIGN_RECOVER,
        Attribute.MODIFIABLE,
        Attribute.COPYABLE,
    ),
    False,
)

_BOOLEANS = {
    "local": Attribute.LOCAL,
    "sensitive": Attribute.SENSITIVE,
    "always_sensitive": Attribute.ALWAYS_SENSITIVE,
    "extractable": Attribute.EXTRACTABLE,
    "never_extractable": Attribute.NEVER_EXTRACTABLE,
    "private": Attribute.PRIVATE,
    "modifiable": Attribute.MODIFIABLE,
    "copyable": Attribute.COPYABLE,
    "derive": Attribute.DERIVE,
    "decrypt": Attribute.DECRYPT,
    "unwrap": Attribute.UNWRAP,
    "sign": Attribute.SIGN,
    "sign_recover": Attribute.SIGN_RECOVER,
}
# An object that does not tell what a key must tell is somebody else's.
UNTOLD = (refusal.AttributeTypeInvalid, refusal.AttributeSensitive)


def generate_pair(session: Any, algorithm: KeyAlgorithm, label: str) -> tuple[Any, Any]:
    """Makes a key pair with the largest template that the token accepts; logs what the key goes without.

    A refused template makes no key, so that trying costs nothing but a call. Raises `pkcs11.PKCS11Error`.
    """
    recipe = RECIPES[algorithm]
    generate = session.generate_keypair
    arguments: dict[str, Any] = {"key_type": recipe.key_type, "key_length": recipe.size}
    if isinstance(recipe.size, bytes):
        parameters = {Attribute.EC_PARAMS: recipe.size}
        generate = session.create_domain_parameters(recipe.key_type, parameters, local=True).generate_keypair
        arguments = {}
    arguments |= {"id": secrets.token_bytes(16), "label": label, "store": True, "mechanism": recipe.generate}
    arguments |= {"capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY}
    wanted: dict[Attribute, object] = WANTED_PRIVATE | {Attribute.ALLOWED_MECHANISMS: (recipe.sign,)}
    refused: refusal.PKCS11Error | None = None
    for without in _givings_up(tuple(wanted)):
        template = REQUIRED_PRIVATE | _leaving_out(wanted, without)
        try:
            pair: tuple[Any, Any] = generate(**arguments, private_template=template)
        except _TEMPLATE_ERRORS as error:
            refused = error
            continue
        if refused is not None:
            names = ", ".join(f"CKA_{attribute.name}" for attribute in without)
            logger.warning("The token does not take %s (%s): key %r goes without.", names, name(refused), label)
        return pair
    assert refused is not None  # The last attempt gave up everything wanted.
    raise refused


def signer(private: Any, recipe: Recipe) -> Callable[[bytes], bytes]:
    """Signs with this key, as `Token.sign` gives signatures."""
    # Each key object has a class of its own, and reads CKA_KEY_TYPE from the token for each signature, two calls:
    # answer it once and for all.
    type(private).key_type = recipe.key_type
    sign, mechanism, parameter = private.sign, recipe.sign, recipe.sign_param
    if recipe.key_type is KeyType.EC:
        return lambda payload: _der(sign(payload, mechanism=mechanism))
    return lambda payload: bytes(sign(payload, mechanism=mechanism, mechanism_param=parameter))


def public_key_of(public: Any) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a public key object. Raises `UnsupportedItemError` for other kinds of key."""
    key_type = public[Attribute.KEY_TYPE]
    if key_type == KeyType.RSA:
        return spki.from_rsa_attributes(public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT])
    if key_type in (KeyType.EC, KeyType.EC_EDWARDS):
        return spki.from_ec_attributes(public[Attribute.EC_PARAMS], public[Attribute.EC_POINT])
    raise UnsupportedItemError("The key is neither EC, Edwards nor RSA.")


def attributes_of(key: TokenKey, private: Any, token: TokenDescription) -> KeyAttributes:
    """What the token tells about the private key. Raises `pkcs11.PKCS11Error`."""
    told = _told(private, [*_BOOLEANS.values(), Attribute.ALLOWED_MECHANISMS, Attribute.KEY_GEN_MECHANISM])
    allowed, generated = told.get(Attribute.ALLOWED_MECHANISMS), told.get(Attribute.KEY_GEN_MECHANISM)
    return KeyAttributes(
        public_key=key.public_key,
        algorithm=key.algorithm,
        label=key.label,
        key_id=key.key_id,
        **{field: told.get(attribute) for field, attribute in _BOOLEANS.items()},
        key_gen_mechanism=None if generated is None else _mechanism_name(generated),
        allowed_mechanisms=None if allowed is None else tuple(map(_mechanism_name, allowed)),
        token_label=token.label,
        token_serial=token.serial,
        token_manufacturer=token.manufacturer,
        token_model=token.model,
        library=token.library,
    )


def _told(private: Any, wanted: list[Attribute]) -> dict[Attribute, Any]:
    """All at once; or one by one, of modules that refuse all because of one."""
    try:
        return dict(private.get_attributes(wanted))
    except UNTOLD:
        told = {}
        for attribute in wanted:
            with suppress(*UNTOLD):
                told[attribute] = private[attribute]
        return told


def _givings_up(wanted: tuple[Attribute, ...]) -> Iterator[tuple[Attribute, ...]]:
    """Nothing, then each attribute alone, each two, and so on; what stands last in the template first."""
    for number in range(len(wanted) + 1):
        yield from combinations(reversed(wanted), number)


def _leaving_out(wanted: dict[Attribute, object], without: tuple[Attribute, ...]) -> dict[Attribute, object]:
    # The library's own template says DECRYPT, UNWRAP and DERIVE: leaving them out of ours would change nothing.
    return {attribute: DEFAULT if attribute in without else value for attribute, value in wanted.items()}


def _mechanism_name(number: int) -> str:
    try:
        return f"CKM_{Mechanism(number).name}"
    except ValueError:
        return f"{number:#010x}"


def _der(signature: bytes) -> bytes:
    """ECDSA-Sig-Value (RFC 3279, section 2.2.3) of the two numbers that PKCS#11 gives, one after the other."""
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
