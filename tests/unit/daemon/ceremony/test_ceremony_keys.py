"""Public keys in a ceremony."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import Key, SSlibKey

from wharfinger_daemon.ceremony.keys import fingerprint, key_from_pem, public_value, same_key


def pem(key: object) -> bytes:
    encoded: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


P256 = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("private", "scheme"),
    [
        (P256, "ecdsa-sha2-nistp256"),
        (ec.generate_private_key(ec.SECP384R1()), "ecdsa-sha2-nistp384"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "rsassa-pss-sha256"),
    ],
)
def test_kinds_that_every_client_verifies_are_taken(private: object, scheme: str) -> None:
    key = key_from_pem(pem(private), scheme)
    assert scheme == key.scheme
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    assert der == public_value(key)
    assert hashlib.sha256(der).hexdigest() == fingerprint(key)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no key", "no public key in PEM"),
        (P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "it is a private key"),
        (pem(ec.generate_private_key(ec.SECP521R1())), "of another kind"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "of another kind"),
        (pem(dsa.generate_private_key(1024)), "of another kind"),
        (pem(rsa.generate_private_key(65537, 1024)), "2048 bits at least, and this one has 1024"),
    ],
)
def test_other_keys_are_refused(content: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        key_from_pem(content)


def test_scheme_must_be_that_of_the_key() -> None:
    with pytest.raises(ValueError, match="its scheme is ecdsa-sha2-nistp256, not ed25519"):
        key_from_pem(pem(P256), "ed25519")


def test_one_key_is_one_however_it_is_written_down() -> None:
    key = key_from_pem(pem(P256))
    other = SSlibKey("0" * 64, "ecdsa-sha2-nistp256", key.scheme, {"public": f"\n{key.keyval['public'].strip()}\n\n"})
    assert same_key(key, other)
    assert not same_key(key, key_from_pem(pem(ec.generate_private_key(ec.SECP256R1()))))


@pytest.mark.parametrize("keytype", ["ecdsa", "ed25519"])
def test_key_that_cannot_be_read_is_compared_as_it_stands(keytype: str) -> None:
    """Chains of other tools may list keys of kinds that are unknown here."""
    scheme = {"ecdsa": "ecdsa-sha2-nistp256"}.get(keytype, keytype)
    key: Key = SSlibKey("0" * 64, keytype, scheme, {"public": " what is this "})
    assert b"what is this" == public_value(key)
