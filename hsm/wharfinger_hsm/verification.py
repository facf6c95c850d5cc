"""Public keys: reading them, checking payloads against them, verifying signatures with them."""

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from wharfinger_hsm.errors import SignatureInvalidError, UnsupportedItemError
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem, fingerprint

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

PREHASHED_SHA256 = Prehashed(hashes.SHA256())
ECDSA_BY_DIGEST_SIZE = {32: ec.ECDSA(PREHASHED_SHA256), 48: ec.ECDSA(Prehashed(hashes.SHA384()))}
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
# Signers of clouds choose their salt, and TUF's clients take any.
_PSS_ANY_SALT = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)

_EC_ALGORITHMS = {"secp256r1": KeyAlgorithm.ECDSA_P256, "secp384r1": KeyAlgorithm.ECDSA_P384}
_RSA_ALGORITHMS = {2048: KeyAlgorithm.RSA_PSS_2048, 3072: KeyAlgorithm.RSA_PSS_3072, 4096: KeyAlgorithm.RSA_PSS_4096}


@lru_cache(maxsize=256)
def read_public_key(public_key: bytes) -> tuple[PublicKey, KeyAlgorithm]:
    """Parses a SubjectPublicKeyInfo (DER). Raises `UnsupportedItemError` for anything else or another algorithm."""
    try:
        key = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnsupportedItemError("The public key is not a SubjectPublicKeyInfo in DER that can be read.") from error
    algorithm: KeyAlgorithm | None = None
    match key:
        case ed25519.Ed25519PublicKey():
            return key, KeyAlgorithm.ED25519
        case ec.EllipticCurvePublicKey():
            algorithm = _EC_ALGORITHMS.get(key.curve.name)
        case rsa.RSAPublicKey():
            algorithm = _RSA_ALGORITHMS.get(key.key_size)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) or algorithm is None:
        supported = ", ".join(KeyAlgorithm)
        raise UnsupportedItemError(f"Key {fingerprint(public_key)} is of an algorithm other than {supported}.")
    return key, algorithm


def check_item(item: SigningItem, *, takes_messages: bool = False) -> KeyAlgorithm:
    """Raises `UnsupportedItemError` unless the payload is what the key signs; needs no token. Returns its algorithm.

    `takes_messages`: the key takes whole messages, whatever its algorithm (see `TokenKey`).
    """
    _, algorithm = read_public_key(item.public_key)
    wanted = None if takes_messages else algorithm.digest_size
    given = len(item.payload.value) if isinstance(item.payload, Digest) else None
    if given != wanted:
        raise UnsupportedItemError(
            f"Key {fingerprint(item.public_key)} ({algorithm}) signs {_payload_name(wanted)},"
            f" not {_payload_name(given)}."
        )
    return algorithm


def check_readable(item: SigningItem) -> None:
    """What can be said before it is known which token signs: the key is one, and a digest has its length.

    Raises `UnsupportedItemError`.
    """
    if isinstance(item.payload, Digest):
        check_item(item)
    else:
        read_public_key(item.public_key)


def digest_of(algorithm: KeyAlgorithm, message: bytes) -> bytes | None:
    """The digest that a key of this algorithm signs in place of the message; None for Ed25519."""
    match algorithm.digest_size:
        case None:
            return None
        case 48:
            return hashlib.sha384(message).digest()
        case _:
            return hashlib.sha256(message).digest()


def _payload_name(digest_size: int | None) -> str:
    return "a whole message" if digest_size is None else f"a digest of {digest_size} bytes"


def verify(item: SigningItem, signature: bytes) -> None:
    """Raises `SignatureInvalidError` unless `signature` is one of the item's key over the item's payload."""
    key, algorithm = read_public_key(item.public_key)
    payload = item.payload.value
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            return key.verify(signature, payload)
        if isinstance(item.payload, Message):
            payload = digest_of(algorithm, payload) or payload
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, payload, ECDSA_BY_DIGEST_SIZE[len(payload)])
        else:
            key.verify(signature, payload, _PSS_ANY_SALT, PREHASHED_SHA256)
    except InvalidSignature as error:
        raise SignatureInvalidError(
            f"The token returned a signature that key {fingerprint(item.public_key)} refuses. Do not trust this token"
            " until it has been examined."
        ) from error
