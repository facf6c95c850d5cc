"""The keys that a daemon's token can hold, for a fake daemon that really signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import Key, SSlibKey

from tests.unit.client.fake_daemon import FakeDaemon
from wharfinger.signing.v1 import signing_pb2

SCHEMES = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ed25519", "rsassa-pss-sha256")


class SigningToken:
    """One key, and what a daemon answers that holds it. It signs whatever it is sent."""

    def __init__(self, scheme: str, roles: tuple[str, ...] = ("bins-*", "snapshot", "timestamp")) -> None:
        private, self._sign = _MAKERS[scheme]()
        public = private.public_key()
        self.pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.public_key: Key = SSlibKey.from_crypto(public)
        self.roles = roles

    @property
    def keyid(self) -> str:
        return self.public_key.keyid

    def sign(self, payload: bytes) -> bytes:
        return self._sign(payload)

    def listed(self) -> signing_pb2.SigningKey:
        """The key as ``ListSigningKeys`` shows it."""
        key = self.public_key
        return signing_pb2.SigningKey(
            keyid=key.keyid, keytype=key.keytype, scheme=key.scheme, public_key_pem=self.pem, roles=self.roles
        )

    def serve(self, daemon: FakeDaemon) -> None:
        """Lets the daemon list this key and sign with it."""
        daemon.script.set("ListSigningKeys", signing_pb2.ListSigningKeysResponse(keys=[self.listed()]))

        def answer(request: Any, context: Any) -> signing_pb2.SignResponse:
            daemon.script.record("Sign", (request,), context)
            (item,) = request.items
            signature = signing_pb2.Signature(
                keyid=self.keyid, signature=self.sign(item.tuf_metadata.signed), role="timestamp", version=7
            )
            return signing_pb2.SignResponse(signatures=[signature])

        daemon.script.set("Sign", answer)


_Made = tuple[Any, Callable[[bytes], bytes]]


def _ecdsa(curve: ec.EllipticCurve, digest: hashes.HashAlgorithm) -> _Made:
    key = ec.generate_private_key(curve)
    return key, lambda payload: key.sign(payload, ec.ECDSA(digest))


def _ed25519() -> _Made:
    key = ed25519.Ed25519PrivateKey.generate()
    return key, key.sign


def _rsa() -> _Made:
    key = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
    return key, lambda payload: key.sign(payload, pss, hashes.SHA256())


_MAKERS: dict[str, Callable[[], _Made]] = {
    "ecdsa-sha2-nistp256": lambda: _ecdsa(ec.SECP256R1(), hashes.SHA256()),
    "ecdsa-sha2-nistp384": lambda: _ecdsa(ec.SECP384R1(), hashes.SHA384()),
    "ed25519": _ed25519,
    "rsassa-pss-sha256": _rsa,
}
