"""Public keys as the verified metadata has them, and the port to the token that holds the private ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import Key

_PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

# The schemes that a token can make, with the digest that enters it. Ed25519 takes the whole message.
_DIGESTS: dict[str, type[hashes.SHA256 | hashes.SHA384] | None] = {
    "ecdsa-sha2-nistp256": hashes.SHA256,
    "ecdsa-sha2-nistp384": hashes.SHA384,
    "rsassa-pss-sha256": hashes.SHA256,
    "ed25519": None,
}


@dataclass(frozen=True)
class TokenRequest:
    """One signature wanted from the token.

    Attributes:
        public_key: which key, by its value: DER SubjectPublicKeyInfo.
        message: what is signed.
        digest: of the message, as the key's scheme has it (ECDSA, RSA-PSS); None for Ed25519, which takes the whole.
    """

    public_key: bytes
    message: bytes
    digest: bytes | None


class TokenKeys(Protocol):
    """The keys that a token holds.

    Raises:
        UnavailableError: from every method, with TOKEN_UNAVAILABLE, when the token does not answer. It never means
            that a key is gone for good.
    """

    async def public_keys(self) -> frozenset[bytes]:
        """All keys that the token holds, as DER SubjectPublicKeyInfo."""
        ...

    async def sign(self, requests: Sequence[TokenRequest], *, timeout_seconds: float) -> list[bytes]:
        """One signature for each request, in order: ECDSA as DER, RSA-PSS and Ed25519 raw.

        Each was verified with its public key, outside the process that made it. One that is wrong is never given out:
        UnavailableError, SIGNATURE_INVALID.
        """
        ...


class AuthorisedKey:
    """A public key of verified metadata, loaded once.

    Raises:
        ValueError: the key does not load, or its value does not fit its scheme.
    """

    def __init__(self, key: Key) -> None:
        self.keyid = key.keyid
        self.keytype = key.keytype
        self.scheme = key.scheme
        self._public_key = _load(key)
        self.der = self._public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pem = self._public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def request(self, signed: bytes, sha256: bytes) -> TokenRequest:
        """What the token is asked, to sign these bytes, whose SHA-256 the ledger needed already."""
        kind = _DIGESTS[self.scheme]
        if kind is None:
            return TokenRequest(self.der, signed, None)
        digest = sha256 if kind is hashes.SHA256 else hashlib.new(kind.name, signed).digest()
        return TokenRequest(self.der, signed, digest)


def can_be_held(key: Key) -> bool:
    """Whether a token could hold this key: others (P-521, ML-DSA) may still sign offline roles."""
    return key.scheme in _DIGESTS


def _load(key: Key) -> _PublicKey:
    value = key.keyval["public"]
    if key.scheme == "ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(value))
    public_key = load_pem_public_key(value.encode("utf-8"))
    match key.scheme, public_key:
        case "ecdsa-sha2-nistp256", ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return public_key
        case "ecdsa-sha2-nistp384", ec.EllipticCurvePublicKey(curve=ec.SECP384R1()):
            return public_key
        case "rsassa-pss-sha256", rsa.RSAPublicKey():
            return public_key
    raise ValueError(f"key {key.keyid} is not a key for {key.scheme}")
