"""Public keys in a ceremony: which are allowed, and when two of them are one."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import Key, SSlibKey

SCHEMES = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ed25519", "rsassa-pss-sha256")
"""What the clients of python-tuf and tuf-js both verify, and a token can make."""

_FEWEST_RSA_BITS = 2048


def key_from_pem(content: bytes, scheme: str | None = None) -> Key:
    """A key as TUF metadata lists it.

    Args:
        content: SubjectPublicKeyInfo in PEM. A private key is refused, so that none is carried around by mistake.
        scheme: must be the scheme that keys of this type have here; None to take it.

    Raises:
        ValueError: it is no public key, or of a kind that not every client verifies; the text says what is wrong.
    """
    if b"PRIVATE KEY" in content:
        raise ValueError("it is a private key. Take it out of the folder, and give the public key")
    try:
        public_key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it is no public key in PEM (SubjectPublicKeyInfo)") from error
    if isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size < _FEWEST_RSA_BITS:
        raise ValueError(f"RSA keys need {_FEWEST_RSA_BITS} bits at least, and this one has {public_key.key_size}")
    try:
        key = SSlibKey.from_crypto(public_key)
    except ValueError as error:
        raise ValueError(_other_kind()) from error
    if key.scheme not in SCHEMES:
        raise ValueError(_other_kind())
    if scheme not in (None, key.scheme):
        raise ValueError(f"its scheme is {key.scheme}, not {scheme}")
    return key


def public_value(key: Key) -> bytes:
    """What two keys have in common that are one key, however metadata writes it down and whatever its keyid.

    DER SubjectPublicKeyInfo; of a key that cannot be read, the value as the metadata has it.
    """
    value = str(key.keyval.get("public", "")).strip()
    try:
        if key.scheme == "ed25519":
            public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(value))
            return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        loaded = load_pem_public_key(value.encode("utf-8"))
        return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return value.encode("utf-8")


def fingerprint(key: Key) -> str:
    """The hexadecimal SHA-256 of the key's SubjectPublicKeyInfo, in DER as ``openssl pkey -pubin`` writes it."""
    return hashlib.sha256(public_value(key)).hexdigest()


def same_key(one: Key, other: Key) -> bool:
    """Whether both make and verify the same signatures."""
    return one.scheme == other.scheme and public_value(one) == public_value(other)


def _other_kind() -> str:
    return f"it is of another kind than {', '.join(SCHEMES)}, which are what every client verifies"
