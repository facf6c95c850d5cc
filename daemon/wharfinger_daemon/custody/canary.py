"""Health is a signature: a key of its own signs a fresh nonce through the real workers. Anything weaker lies.

An open session, random numbers and a found key all stay well when a token is gone (facts of SoftHSM and others). The
canary's key is in no TUF role, and what it signs begins with a text that no metadata begins with.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.signing.keys import TokenKeys, TokenRequest

_DOMAIN = b"wharfinger canary v1\x00"


class Canary(Protocol):
    """Says whether signatures can be made."""

    async def sing(self) -> None:
        """Makes and verifies one signature.

        Raises:
            UnavailableError: it could not be made.
        """
        ...


class TokenCanary:
    """The canary of a token. ``public_key`` is the DER SubjectPublicKeyInfo of an ECDSA P-256 key."""

    def __init__(self, keys: TokenKeys, public_key: bytes, timeout_seconds: float) -> None:
        self._keys = keys
        self._public_key = public_key
        self._timeout_seconds = timeout_seconds

    async def sing(self) -> None:
        """Makes and verifies one signature over a fresh nonce."""
        nonce = _DOMAIN + secrets.token_bytes(32)
        digest = hashlib.sha256(nonce).digest()
        request = TokenRequest(self._public_key, nonce, digest)
        (signature,) = await self._keys.sign([request], timeout_seconds=self._timeout_seconds)
        public_key = load_der_public_key(self._public_key)
        assert isinstance(public_key, ec.EllipticCurvePublicKey)  # The kind of key that init generates.
        try:
            public_key.verify(signature, digest, ec.ECDSA(utils.Prehashed(SHA256())))
        except InvalidSignature as error:
            raise UnavailableError(
                "The token made a signature that does not verify.", reason=Reason.TOKEN_UNAVAILABLE
            ) from error
