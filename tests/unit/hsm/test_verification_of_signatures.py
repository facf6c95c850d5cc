"""Verifying signatures in the daemon's process."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_hsm import verifier
from wharfinger_hsm.errors import SignatureInvalidError, UnsupportedItemError
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem
from wharfinger_hsm.verification import check_item, check_readable, digest_of, verify
from wharfinger_hsm.verifier import SignatureVerifier


def items_of(token: MemoryToken, number: int) -> list[SigningItem]:
    key = token.generate(KeyAlgorithm.ECDSA_P256, f"key-{number}")
    return [SigningItem(key.public_key, Digest(index.to_bytes(32, "big"))) for index in range(number)]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 100])
async def test_wrong_signatures_are_told_by_their_place(number: int) -> None:
    token = MemoryToken()
    items = items_of(token, number)
    signatures = token.sign(items)
    wrong = set(range(0, number, 7))
    for index in wrong:
        signatures[index] = token.sign([items_of(token, 1000 + index)[0]])[0]
    under_test = SignatureVerifier(threads=3)

    faults = await under_test.faults(items, signatures)

    assert wrong == {index for index, fault in enumerate(faults) if isinstance(fault, SignatureInvalidError)}
    assert number == len(faults)
    under_test.close()


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\xff" * 72, b"\x30\x06\x02\x01\x01\x02\x01\x01"])
@pytest.mark.parametrize("algorithm", [*KeyAlgorithm][:4])
def test_garbage_is_a_wrong_signature_for_every_kind_of_key(algorithm: KeyAlgorithm, garbage: bytes) -> None:
    key = MemoryToken().generate(algorithm, "key")
    size = algorithm.digest_size
    item = SigningItem(key.public_key, Message(b"m") if size is None else Digest(bytes(size)))

    with pytest.raises(SignatureInvalidError, match="Do not trust this token"):
        verify(item, garbage)


async def test_a_long_message_is_verified_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing it would hold the event loop."""
    token = MemoryToken()
    key = token.generate(KeyAlgorithm.ED25519, "key")
    monkeypatch.setattr(verifier, "_MOST_BYTES_AT_ONCE", 10)
    items = [SigningItem(key.public_key, Message(b"m" * 11))]
    under_test = SignatureVerifier(threads=1)

    assert [None] == await under_test.faults(items, token.sign(items))
    assert 1 == len(under_test._executor._threads)
    under_test.close()


@pytest.mark.parametrize("algorithm", [*KeyAlgorithm])
def test_the_signature_of_a_digest_is_that_of_its_message(algorithm: KeyAlgorithm) -> None:
    """Signers that take whole messages hash as their keys' algorithms do."""
    token, message = MemoryToken(), b"message"
    key = token.generate(algorithm, "key")
    digest = digest_of(algorithm, message)
    payload = Message(message) if digest is None else Digest(digest)

    (signature,) = token.sign([SigningItem(key.public_key, payload)])

    verify(SigningItem(key.public_key, Message(message)), signature)
    with pytest.raises(SignatureInvalidError):
        verify(SigningItem(key.public_key, Message(b"another")), signature)


@pytest.mark.parametrize("salt_length", [0, 20, 32, 190])
def test_a_signer_chooses_its_own_salt(salt_length: int) -> None:
    """TUF's clients take any length, and clouds differ."""
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    der = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt_length)

    verify(SigningItem(der, Message(b"m")), private_key.sign(b"m", pss, hashes.SHA256()))


def test_a_key_that_takes_messages_takes_no_digest() -> None:
    key = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "key")
    digest = SigningItem(key.public_key, Digest(hashlib.sha256(b"m").digest()))
    message = SigningItem(key.public_key, Message(b"m"))

    assert KeyAlgorithm.ECDSA_P256 == check_item(message, takes_messages=True)
    with pytest.raises(UnsupportedItemError, match="signs a whole message, not a digest"):
        check_item(digest, takes_messages=True)
    with pytest.raises(UnsupportedItemError, match="signs a digest of 32 bytes, not a whole message"):
        check_item(message)


def test_before_the_token_is_known_a_message_may_be_meant_for_any_key() -> None:
    key = MemoryToken().generate(KeyAlgorithm.ECDSA_P384, "key")

    check_readable(SigningItem(key.public_key, Message(b"m")))
    check_readable(SigningItem(key.public_key, Digest(bytes(48))))
    with pytest.raises(UnsupportedItemError):
        check_readable(SigningItem(key.public_key, Digest(bytes(32))))
    with pytest.raises(UnsupportedItemError, match="SubjectPublicKeyInfo"):
        check_readable(SigningItem(b"no key", Message(b"m")))
