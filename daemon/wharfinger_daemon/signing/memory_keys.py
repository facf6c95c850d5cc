"""Keys held in memory instead of a token: for tests, and for trying things out. Never for a real repository."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.signing.keys import TokenRequest

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class MemoryKeys:
    """Implements ``TokenKeys``.

    Attributes:
        available: set to False, every method raises UnavailableError, as when the token is unplugged.
        batches: how many requests each call of ``sign`` had, oldest first.
    """

    def __init__(self, keys: Iterable[PrivateKey]) -> None:
        self._keys = {
            key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo): key for key in keys
        }
        self.available = True
        self.batches: list[int] = []

    async def public_keys(self) -> frozenset[bytes]:
        self._require_available()
        return frozenset(self._keys)

    async def sign(self, requests: Sequence[TokenRequest], *, timeout_seconds: float) -> list[bytes]:
        self._require_available()
        self.batches.append(len(requests))
        if not all(request.public_key in self._keys for request in requests):
            raise UnavailableError("A key is not held.", reason=Reason.TOKEN_UNAVAILABLE)
        return [_signature(self._keys[request.public_key], request) for request in requests]

    def _require_available(self) -> None:
        if not self.available:
            raise UnavailableError("The keys are switched off.", reason=Reason.TOKEN_UNAVAILABLE)


def _signature(key: PrivateKey, request: TokenRequest) -> bytes:
    payload = request.message if request.digest is None else request.digest
    match key:
        case ed25519.Ed25519PrivateKey():
            return key.sign(payload)
        case rsa.RSAPrivateKey():
            digest = hashes.SHA256()
            pss = padding.PSS(padding.MGF1(digest), salt_length=digest.digest_size)
            return key.sign(payload, pss, Prehashed(digest))
        case _:
            curve_digest = hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA256()
            return key.sign(payload, ec.ECDSA(Prehashed(curve_digest)))
