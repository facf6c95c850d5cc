"""A token in memory: the fake that ships with the port.

Its private keys can be read by anything in the process, so it is for tests only.
"""

import secrets
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_hsm.errors import KeyExistsError, KeyNotFoundError, TokenUnavailableError
from wharfinger_hsm.labels import check_label
from wharfinger_hsm.model import KeyAlgorithm, KeyAttributes, SigningItem, TokenKey, fingerprint
from wharfinger_hsm.verification import ECDSA_BY_DIGEST_SIZE, PREHASHED_SHA256, PSS, check_item

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_GENERATORS: dict[KeyAlgorithm, Callable[[], PrivateKey]] = {
    KeyAlgorithm.ECDSA_P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyAlgorithm.ECDSA_P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyAlgorithm.ED25519: ed25519.Ed25519PrivateKey.generate,
    KeyAlgorithm.RSA_PSS_2048: lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    KeyAlgorithm.RSA_PSS_3072: lambda: rsa.generate_private_key(public_exponent=65537, key_size=3072),
    KeyAlgorithm.RSA_PSS_4096: lambda: rsa.generate_private_key(public_exponent=65537, key_size=4096),
}


class MemoryToken:
    """Implements `Token` with the `cryptography` library. Each instance is an empty token of its own."""

    def __init__(self) -> None:
        self._keys: dict[bytes, tuple[TokenKey, PrivateKey]] = {}
        self._closed = False

    def keys(self) -> list[TokenKey]:
        self._require_open()
        return sorted((key for key, _ in self._keys.values()), key=lambda key: (key.label, key.public_key))

    def find(self, public_key: bytes) -> TokenKey:
        return self._entry(public_key)[0]

    def generate(self, algorithm: KeyAlgorithm, label: str) -> TokenKey:
        self._require_open()
        check_label(label)
        if any(key.label == label for key, _ in self._keys.values()):
            raise KeyExistsError(f"The token has an object labelled {label!r} already. Choose another label.")
        private_key = _GENERATORS[algorithm]()
        public_key = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        key = TokenKey(public_key=public_key, algorithm=algorithm, label=label, key_id=secrets.token_bytes(16))
        self._keys[public_key] = (key, private_key)
        return key

    def sign(self, items: Sequence[SigningItem]) -> list[bytes]:
        for item in items:
            check_item(item)
        private_keys = [self._entry(item.public_key)[1] for item in items]
        return [_sign(key, item.payload.value) for key, item in zip(private_keys, items, strict=True)]

    def attributes(self, public_key: bytes) -> KeyAttributes:
        key, _ = self._entry(public_key)
        return KeyAttributes(
            *(key.public_key, key.algorithm, key.label, key.key_id),
            local=True,
            sensitive=False,
            extractable=True,
            sign=True,
            library="wharfinger_hsm.memory_token, for tests",
        )

    def destroy(self, public_key: bytes) -> None:
        self._entry(public_key)
        del self._keys[public_key]

    def close(self) -> None:
        self._closed = True

    def _entry(self, public_key: bytes) -> tuple[TokenKey, PrivateKey]:
        self._require_open()
        try:
            return self._keys[public_key]
        except KeyError:
            raise KeyNotFoundError(f"The token holds no key {fingerprint(public_key)}.") from None

    def _require_open(self) -> None:
        if self._closed:
            raise TokenUnavailableError("The token is closed.")


def _sign(key: PrivateKey, payload: bytes) -> bytes:
    match key:
        case ed25519.Ed25519PrivateKey():
            return key.sign(payload)
        case ec.EllipticCurvePrivateKey():
            return key.sign(payload, ECDSA_BY_DIGEST_SIZE[len(payload)])
        case _:
            return key.sign(payload, PSS, PREHASHED_SHA256)
