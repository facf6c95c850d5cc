"""Signers of securesystemslib in the place of a token: cloud KMS, Vault, or anything that registers a scheme.

It runs in a worker process, as a PKCS#11 module does: a cloud's SDK with its threads, its credentials and its idea of
time-outs stays outside the daemon. The signers hash for themselves, so that keys take whole messages.
"""

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import Signer, SSlibKey

from wharfinger_hsm.errors import KeyNotFoundError, TokenMissingError, TokenUnavailableError, UnsupportedItemError
from wharfinger_hsm.model import (
    KeyAlgorithm,
    KeyAttributes,
    SignerKey,
    SignerSettings,
    SigningItem,
    TokenKey,
    fingerprint,
)
from wharfinger_hsm.pin_file import read_pin
from wharfinger_hsm.verification import check_item, read_public_key

_SCHEMES = {
    KeyAlgorithm.ECDSA_P256: "ecdsa-sha2-nistp256",
    KeyAlgorithm.ECDSA_P384: "ecdsa-sha2-nistp384",
    KeyAlgorithm.ED25519: "ed25519",
    KeyAlgorithm.RSA_PSS_2048: "rsassa-pss-sha256",
    KeyAlgorithm.RSA_PSS_3072: "rsassa-pss-sha256",
    KeyAlgorithm.RSA_PSS_4096: "rsassa-pss-sha256",
}


@dataclass(frozen=True, slots=True)
class _Opened:
    key: TokenKey
    signer: Signer
    has_secret: bool
    """It was told a secret: its errors are not quoted, because it decides what they say."""


class SignerToken:
    """Implements `Token` on signers of securesystemslib, which can neither generate nor destroy keys."""

    def __init__(self, opened: Iterable[_Opened]) -> None:
        self._opened = {one.key.public_key: one for one in opened}
        self._closed = False

    @classmethod
    def open(cls, settings: SignerSettings) -> Self:
        """Imports the modules that register schemes, reads the public keys, and makes the signers.

        Raises `TokenMissingError` for what cannot be imported, read or made, `PinFileError` for a bad secret file,
        `UnsupportedItemError` for a key of another algorithm and for schemes that are of no use here.
        """
        for name in settings.modules:
            try:
                importlib.import_module(name)
            except Exception as error:
                raise TokenMissingError(f"The module {name} cannot be imported: {error}") from error
        token = cls(_open(one) for one in settings.signers)
        if len(token._opened) != len(settings.signers):
            raise TokenMissingError("Two signers have the same public key. Give each key to one signer.")
        return token

    def keys(self) -> list[TokenKey]:
        self._require_open()
        return sorted((one.key for one in self._opened.values()), key=lambda key: (key.label, key.public_key))

    def find(self, public_key: bytes) -> TokenKey:
        return self._entry(public_key).key

    def generate(self, algorithm: KeyAlgorithm, label: str) -> TokenKey:
        self._require_open()
        raise UnsupportedItemError(
            "A signer of securesystemslib cannot generate keys. Generate one with the tools of your key service, then"
            " add its URI and its public key to the configuration."
        )

    def sign(self, items: Sequence[SigningItem]) -> list[bytes]:
        self._require_open()
        for item in items:
            check_item(item, takes_messages=True)
        opened = [self._entry(item.public_key) for item in items]
        return [_sign(one, item) for one, item in zip(opened, items, strict=True)]

    def attributes(self, public_key: bytes) -> KeyAttributes:
        one = self._entry(public_key)
        key, kind = one.key, f"{type(one.signer).__module__}.{type(one.signer).__qualname__}"
        return KeyAttributes(key.public_key, key.algorithm, key.label, key.key_id, library=kind)

    def destroy(self, public_key: bytes) -> None:
        self._entry(public_key)
        raise UnsupportedItemError(
            "A signer of securesystemslib cannot destroy keys. Destroy it with the tools of your key service, then take"
            " its URI out of the configuration."
        )

    def close(self) -> None:
        self._closed = True

    def _entry(self, public_key: bytes) -> _Opened:
        self._require_open()
        try:
            return self._opened[public_key]
        except KeyError:
            raise KeyNotFoundError(f"No signer has the key {fingerprint(public_key)}.") from None

    def _require_open(self) -> None:
        if self._closed:
            raise TokenUnavailableError("The token is closed.")


def _open(one: SignerKey) -> _Opened:
    scheme = one.uri.partition(":")[0]
    if scheme == "hsm":
        # It logs in for every signature, and takes a wrong PIN for any other failure: repeated, that locks the token.
        raise UnsupportedItemError(
            "A signer with an hsm: URI cannot be used. Configure the token itself, by its PKCS#11 module."
        )
    loaded, algorithm = read_public_key(_public_key(one.public_key_file))
    key = TokenKey(_encoded(loaded), algorithm, one.label, key_id=b"", takes_messages=True)
    secret = None if one.secret_file is None else read_pin(one.secret_file)
    handler = None if secret is None else lambda _: secret
    try:
        signer = Signer.from_priv_key_uri(one.uri, SSlibKey.from_crypto(loaded, scheme=_SCHEMES[algorithm]), handler)
    except Exception as error:  # noqa: BLE001 - signers are plug-ins, and raise whatever they like
        failed = TokenMissingError(f"The signer of {one.label!r} ({scheme}:) cannot be opened{_why(error, secret)}.")
        raise failed from (error if secret is None else None)
    return _Opened(key, signer, secret is not None)


def _public_key(path: Path) -> bytes:
    try:
        return _encoded(load_pem_public_key(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise TokenMissingError(f"The public key {path} cannot be read as PEM: {error}") from error


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sign(one: _Opened, item: SigningItem) -> bytes:
    try:
        return bytes.fromhex(one.signer.sign(item.payload.value).signature)
    except Exception as error:  # noqa: BLE001 - the same
        why = _why(error, one.has_secret or None)
        failed = TokenUnavailableError(f"The signer of {one.key.label!r} failed{why}.")
        raise failed from (None if one.has_secret else error)


def _why(error: Exception, secret: object) -> str:
    return f" ({type(error).__name__})" if secret is not None else f" ({type(error).__name__}: {error})"
