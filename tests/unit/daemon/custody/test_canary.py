"""The canary sings only with a signature that verifies."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_daemon.custody.canary import TokenCanary
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.signing.keys import TokenRequest


class OneKey:
    """A token with one key, which signs what it is told, or something else."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.signs = "what is asked"
        self.asked: list[TokenRequest] = []

    async def public_keys(self) -> frozenset[bytes]:
        return frozenset({self.public})

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    async def sign(self, requests: list[TokenRequest], *, timeout_seconds: float) -> list[bytes]:
        self.asked += requests
        if self.signs == "nothing":
            raise UnavailableError("The token is gone.", reason=Reason.TOKEN_UNAVAILABLE)
        digest = requests[0].digest if self.signs == "what is asked" else hashlib.sha256(b"other").digest()
        return [self.key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))]


async def test_it_sings_with_a_good_signature_over_a_fresh_nonce() -> None:
    token = OneKey()
    canary = TokenCanary(token, token.public, 1)
    await canary.sing()
    await canary.sing()
    assert token.asked[0].digest != token.asked[1].digest


@pytest.mark.parametrize(("signs", "reason"), [("nothing", "The token is gone"), ("another digest", "does not verify")])
async def test_it_is_silent_without_one(signs: str, reason: str) -> None:
    token = OneKey()
    token.signs = signs
    with pytest.raises(UnavailableError, match=reason):
        await TokenCanary(token, token.public, 1).sing()
