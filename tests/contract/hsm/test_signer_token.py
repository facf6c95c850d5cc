"""Signers of securesystemslib in the place of a token: what of the contract they keep, and what they refuse."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signature, Signer

from wharfinger_hsm.errors import (
    KeyNotFoundError,
    PinFileError,
    TokenMissingError,
    TokenUnavailableError,
    UnsupportedItemError,
)
from wharfinger_hsm.memory_token import _GENERATORS, MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SignerKey, SignerSettings, SigningItem, TokenKey
from wharfinger_hsm.signer_token import SignerToken
from wharfinger_hsm.verification import verify

Keep = Callable[..., SignerKey]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Writes a key pair to files."""

    def write(label: str, algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256, passphrase: bytes = b"") -> SignerKey:
        private_key = _GENERATORS[algorithm]()
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        (tmp_path / label).write_bytes(private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        public_key = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{label}.pem").write_bytes(public_key)
        return SignerKey(f"file2:{tmp_path / label}", tmp_path / f"{label}.pem", label)

    return write


@pytest.fixture
def register() -> Iterator[Callable[[str, type[Signer]], None]]:
    before = dict(SIGNER_FOR_URI_SCHEME)
    yield SIGNER_FOR_URI_SCHEME.__setitem__
    SIGNER_FOR_URI_SCHEME.clear()
    SIGNER_FOR_URI_SCHEME.update(before)


class EncryptedFileSigner(Signer):
    """A signer of one's own: a key file whose passphrase it asks for."""

    def __init__(self, inner: CryptoSigner) -> None:
        self._inner = inner

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: Any = None
    ) -> "EncryptedFileSigner":
        content = Path(priv_key_uri.removeprefix("encrypted:")).read_bytes()
        secret = secrets_handler("passphrase")
        try:
            return cls(CryptoSigner(load_pem_private_key(content, secret.encode()), public_key))  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"{secret} does not open {priv_key_uri}") from error

    @property
    def public_key(self) -> Key:
        return self._inner.public_key

    def sign(self, payload: bytes) -> Signature:
        return self._inner.sign(payload)


def opened(*signers: SignerKey, modules: tuple[str, ...] = ()) -> SignerToken:
    return SignerToken.open(SignerSettings(signers, modules))


def listed(token: SignerToken) -> list[TokenKey]:
    return token.keys()


@pytest.mark.parametrize("algorithm", [*KeyAlgorithm][:4])
def test_each_algorithm_signs_whole_messages(keep: Keep, algorithm: KeyAlgorithm) -> None:
    token = opened(keep("key", algorithm))
    (key,) = token.keys()
    item = SigningItem(key.public_key, Message(b"message"))

    (signature,) = token.sign([item])

    verify(item, signature)
    assert (algorithm, "key", True, None) == (key.algorithm, key.label, key.takes_messages, key.digest_size)


def test_several_signers_are_one_token(keep: Keep) -> None:
    token = opened(keep("b"), keep("a", KeyAlgorithm.ED25519))
    items = [SigningItem(key.public_key, Message(key.label.encode())) for key in listed(token)]

    for item, signature in zip(items, token.sign(items), strict=True):
        verify(item, signature)
    assert ["a", "b"] == [key.label for key in listed(token)]
    assert token.keys()[1] == token.find(items[1].public_key)


def test_a_digest_is_refused(keep: Keep) -> None:
    """The signer would hash it once more, and sign what nobody asked for."""
    token = opened(keep("key"))

    with pytest.raises(UnsupportedItemError, match="signs a whole message"):
        token.sign([SigningItem(token.keys()[0].public_key, Digest(hashlib.sha256(b"").digest()))])


def test_an_unknown_key_is_not_found(keep: Keep) -> None:
    token, stranger = opened(keep("key")), MemoryToken().generate(KeyAlgorithm.ED25519, "elsewhere").public_key

    for use in (token.find, token.attributes, token.destroy):
        with pytest.raises(KeyNotFoundError):
            use(stranger)
    with pytest.raises(KeyNotFoundError):
        token.sign([SigningItem(stranger, Message(b""))])


def test_keys_are_neither_made_nor_destroyed_and_the_message_says_where(keep: Keep) -> None:
    token = opened(keep("key"))
    (key,) = token.keys()

    with pytest.raises(UnsupportedItemError, match="tools of your key service, then add its URI"):
        token.generate(KeyAlgorithm.ECDSA_P256, "more")
    with pytest.raises(UnsupportedItemError, match="tools of your key service, then take its URI"):
        token.destroy(key.public_key)


def test_attributes_that_no_signer_tells_are_not_assumed(keep: Keep) -> None:
    token = opened(keep("key"))
    (key,) = token.keys()

    told = token.attributes(key.public_key)

    assert (key.public_key, "key", None, None) == (told.public_key, told.label, told.sensitive, told.local)
    assert told.library is not None and told.library.endswith("CryptoSigner")


def test_a_closed_token_does_nothing(keep: Keep) -> None:
    token = opened(keep("key"))
    (key,) = token.keys()
    token.close()
    token.close()

    for use in (
        token.keys,
        lambda: token.find(key.public_key),
        lambda: token.sign([]),
        lambda: token.generate(KeyAlgorithm.ECDSA_P256, "more"),
    ):
        with pytest.raises(TokenUnavailableError, match="closed"):
            use()


def test_a_scheme_of_ones_own_is_told_its_secret(
    keep: Keep, register: Callable[[str, type[Signer]], None], tmp_path: Path
) -> None:
    register("encrypted", EncryptedFileSigner)
    signer = keep("key", passphrase=b"open sesame")
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("open sesame\n")

    token = opened(SignerKey(f"encrypted:{tmp_path / 'key'}", signer.public_key_file, "key", secret))

    item = SigningItem(token.keys()[0].public_key, Message(b"message"))
    verify(item, token.sign([item])[0])


def test_a_wrong_secret_is_not_quoted(
    keep: Keep, register: Callable[[str, type[Signer]], None], tmp_path: Path
) -> None:
    register("encrypted", EncryptedFileSigner)
    signer = keep("key", passphrase=b"open sesame")
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("open barley\n")

    with pytest.raises(TokenMissingError, match=r"'key' \(encrypted:\) cannot be opened \(ValueError\)") as raised:
        opened(SignerKey(f"encrypted:{tmp_path / 'key'}", signer.public_key_file, "key", secret))

    assert "barley" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_encrypted_file_needs_a_signer_that_asks(keep: Keep) -> None:
    """securesystemslib's own file signer does not."""
    with pytest.raises(TokenMissingError, match="cannot be opened"):
        opened(keep("key", passphrase=b"open sesame"))


def test_a_signer_that_fails_makes_the_token_unavailable(
    keep: Keep, register: Callable[[str, type[Signer]], None], tmp_path: Path
) -> None:
    class Failing(EncryptedFileSigner):
        @classmethod
        def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Any = None) -> "Failing":
            return cls(CryptoSigner.from_priv_key_uri(priv_key_uri.replace("failing:", "file2:"), public_key))

        def sign(self, payload: bytes) -> Signature:
            raise ConnectionError("the key service is not reachable")

    register("failing", Failing)
    signer = keep("key")
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("open sesame\n")
    uri = f"failing:{tmp_path / 'key'}"
    item = None
    for secret_file, told in ((None, "ConnectionError: the key service is not reachable"), (secret, "ConnectionError")):
        token = opened(SignerKey(uri, signer.public_key_file, "key", secret_file))
        item = item or SigningItem(token.keys()[0].public_key, Message(b""))

        with pytest.raises(TokenUnavailableError, match=rf"signer of 'key' failed \({told}\)"):
            token.sign([item])


def test_modules_register_schemes_when_they_are_imported(
    keep: Keep, register: Callable[[str, type[Signer]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registers_a_scheme.py").write_text(
        "from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner\n"
        "class Other(CryptoSigner):\n"
        "    SCHEME = 'other'\n"
        "SIGNER_FOR_URI_SCHEME['other'] = Other\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    signer = keep("key")

    token = opened(
        SignerKey(f"other:{tmp_path / 'key'}", signer.public_key_file, "key"), modules=("registers_a_scheme",)
    )

    item = SigningItem(token.keys()[0].public_key, Message(b"message"))
    verify(item, token.sign([item])[0])
    del sys.modules["registers_a_scheme"]


def test_a_module_that_is_not_there_is_told(keep: Keep) -> None:
    with pytest.raises(TokenMissingError, match="The module no_such_module cannot be imported"):
        opened(keep("key"), modules=("no_such_module",))


def test_a_public_key_that_cannot_be_read_is_told(keep: Keep, tmp_path: Path) -> None:
    signer = keep("key")
    for path in (tmp_path / "none.pem", tmp_path):
        with pytest.raises(TokenMissingError, match="cannot be read as PEM"):
            opened(SignerKey(signer.uri, path, "key"))
    signer.public_key_file.write_text("no PEM")
    with pytest.raises(TokenMissingError, match="cannot be read as PEM"):
        opened(signer)


def test_a_private_key_that_belongs_to_another_public_key_is_told(keep: Keep) -> None:
    one, other = keep("one"), keep("other")

    with pytest.raises(TokenMissingError, match=r"'one' .* cannot be opened"):
        opened(SignerKey(one.uri, other.public_key_file, "one"))


def test_a_scheme_that_nobody_registered_is_told(keep: Keep) -> None:
    with pytest.raises(TokenMissingError, match=r"\(nowhere:\) cannot be opened"):
        opened(SignerKey("nowhere:x", keep("key").public_key_file, "key"))


def test_a_pkcs11_signer_is_refused(keep: Keep) -> None:
    """It tries its PIN for every signature, and again after every failure: that locks tokens."""
    with pytest.raises(UnsupportedItemError, match="Configure the token itself"):
        opened(SignerKey("hsm:2?label=online", keep("key").public_key_file, "key"))


def test_one_key_has_one_signer(keep: Keep) -> None:
    signer = keep("key")

    with pytest.raises(TokenMissingError, match="same public key"):
        opened(signer, SignerKey(signer.uri, signer.public_key_file, "again"))


def test_a_secret_file_is_kept_as_a_pin_file_is(keep: Keep, tmp_path: Path) -> None:
    signer = keep("key")

    with pytest.raises(PinFileError):
        opened(SignerKey(signer.uri, signer.public_key_file, "key", tmp_path / "none"))
