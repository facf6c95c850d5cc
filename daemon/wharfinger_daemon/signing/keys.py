"""Public keys as the verified metadata has them, and the port to the token that holds the private ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import Key

from wharfinger_daemon.errors import Reason, UnavailableError

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
        payload: what enters the token.
        prehashed: the payload is a digest (ECDSA, RSA-PSS) and not the message itself (Ed25519).
    """

    public_key: bytes
    payload: bytes
    prehashed: bool


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
        """One signature for each request, in order: ECDSA as DER, RSA-PSS and Ed25519 raw."""
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
        digest = _DIGESTS[self.scheme]
        if digest is None:
            return TokenRequest(self.der, signed, prehashed=False)
        value = sha256 if digest is hashes.SHA256 else hashlib.new(digest.name, signed).digest()
        return TokenRequest(self.der, value, prehashed=True)

    def verify(self, signature: bytes, request: TokenRequest) -> None:
        """Checks what the token answered to a request of this key.

        Raises:
            UnavailableError: the signature is wrong: a fault of the token or on the way to it.
        """
        try:
            self._verify(signature, request.payload)
        except InvalidSignature as error:
            raise UnavailableError(
                f"The token returned a signature of key {self.keyid} that its public key does not verify. Nothing was "
                "given out. Retry; if it happens again, look at the token.",
                reason=Reason.SIGNATURE_INVALID,
                keyid=self.keyid,
            ) from error

    def _verify(self, signature: bytes, payload: bytes) -> None:
        digest = _DIGESTS[self.scheme]
        key = self._public_key
        if digest is None:
            assert isinstance(key, ed25519.Ed25519PublicKey)  # _load allows nothing else for this scheme.
            key.verify(signature, payload)
        elif isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(digest()), salt_length=padding.PSS.AUTO)
            key.verify(signature, payload, pss, Prehashed(digest()))
        else:
            assert isinstance(key, ec.EllipticCurvePublicKey)  # The same.
            key.verify(signature, payload, ec.ECDSA(Prehashed(digest())))


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
