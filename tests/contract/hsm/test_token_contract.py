"""What every token must do, on the memory token and on SoftHSM."""

from itertools import count

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from wharfinger_hsm.errors import (
    KeyExistsError,
    KeyNotFoundError,
    SignatureInvalidError,
    TokenUnavailableError,
    UnsupportedItemError,
)
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem
from wharfinger_hsm.token import Token
from wharfinger_hsm.verification import verify

_numbers = count()


@pytest.fixture
def label() -> str:
    """A label that no other test uses."""
    return f"key-{next(_numbers)}"


def payload_for(algorithm: KeyAlgorithm, byte: bytes = b"x") -> Digest | Message:
    size = algorithm.digest_size
    return Message(byte * 1000) if size is None else Digest(byte * size)


@pytest.mark.parametrize("algorithm", [*KeyAlgorithm][:4])
def test_each_algorithm_signs_what_its_public_key_verifies(token: Token, label: str, algorithm: KeyAlgorithm) -> None:
    key = token.generate(algorithm, label)
    item = SigningItem(key.public_key, payload_for(algorithm))

    (signature,) = token.sign([item])

    verify(item, signature)
    with pytest.raises(SignatureInvalidError):
        verify(SigningItem(key.public_key, payload_for(algorithm, b"y")), signature)


def test_ecdsa_signatures_are_der(token: Token, label: str) -> None:
    key = token.generate(KeyAlgorithm.ECDSA_P256, label)

    (signature,) = token.sign([SigningItem(key.public_key, Digest(bytes(32)))])

    r, s = decode_dss_signature(signature)
    assert r > 0 < s


@pytest.mark.parametrize(("algorithm", "length"), [(KeyAlgorithm.ED25519, 64), (KeyAlgorithm.RSA_PSS_2048, 256)])
def test_other_signatures_are_raw(token: Token, label: str, algorithm: KeyAlgorithm, length: int) -> None:
    key = token.generate(algorithm, label)

    (signature,) = token.sign([SigningItem(key.public_key, payload_for(algorithm))])

    assert length == len(signature)


def test_a_batch_keeps_its_order_across_keys(token: Token, label: str) -> None:
    first = token.generate(KeyAlgorithm.ECDSA_P256, label)
    second = token.generate(KeyAlgorithm.ED25519, f"{label}-second")
    items = [
        SigningItem(second.public_key, Message(b"one")),
        SigningItem(first.public_key, Digest(b"2" * 32)),
        SigningItem(second.public_key, Message(b"")),
        SigningItem(first.public_key, Digest(b"4" * 32)),
    ]

    signatures = token.sign(items)

    assert len(items) == len(signatures)
    for item, signature in zip(items, signatures, strict=True):
        verify(item, signature)


def test_an_empty_batch_has_no_signatures(token: Token) -> None:
    assert [] == token.sign([])


def test_a_generated_key_is_found_by_its_public_key_and_listed(token: Token, label: str) -> None:
    key = token.generate(KeyAlgorithm.ECDSA_P384, label)

    assert key == token.find(key.public_key)
    assert 1 == token.keys().count(key)
    assert (label, KeyAlgorithm.ECDSA_P384) == (key.label, key.algorithm)


def test_public_keys_are_subject_public_key_infos(token: Token, label: str) -> None:
    for algorithm in [*KeyAlgorithm][:4]:
        load_der_public_key(token.generate(algorithm, f"{label}-{algorithm}").public_key)


def test_each_key_has_an_id_of_its_own(token: Token, label: str) -> None:
    one, other = (token.generate(KeyAlgorithm.ECDSA_P256, f"{label}-{name}") for name in ("one", "other"))

    assert one.key_id != other.key_id
    assert 16 == len(one.key_id)


def test_keys_are_listed_by_label(token: Token, label: str) -> None:
    for name in ("b", "a", "c"):
        token.generate(KeyAlgorithm.ECDSA_P256, f"{label}-{name}")

    listed = token.keys()
    labels = [key.label for key in listed if key.label.startswith(f"{label}-")]

    assert [f"{label}-a", f"{label}-b", f"{label}-c"] == labels


def test_a_label_is_used_once(token: Token, label: str) -> None:
    """Two keys of one label would leave operators guessing which is which."""
    token.generate(KeyAlgorithm.ECDSA_P256, label)

    with pytest.raises(KeyExistsError, match=label):
        token.generate(KeyAlgorithm.ED25519, label)


@pytest.mark.parametrize("bad", ["", " padded", "new\nline", "ümlaut", "l" * 129])
def test_a_label_that_tokens_would_mangle_is_refused(token: Token, bad: str) -> None:
    with pytest.raises(UnsupportedItemError, match="cannot be a label"):
        token.generate(KeyAlgorithm.ECDSA_P256, bad)


def test_an_unknown_key_is_not_found(token: Token, label: str) -> None:
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, label)

    with pytest.raises(KeyNotFoundError):
        token.find(stranger.public_key)
    with pytest.raises(KeyNotFoundError):
        token.sign([SigningItem(stranger.public_key, Digest(bytes(32)))])


def test_one_unknown_key_fails_the_whole_batch(token: Token, label: str) -> None:
    known = token.generate(KeyAlgorithm.ECDSA_P256, label)
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, label)
    items = [SigningItem(key.public_key, Digest(bytes(32))) for key in (known, stranger)]

    with pytest.raises(KeyNotFoundError):
        token.sign(items)


def test_what_is_not_a_public_key_is_refused(token: Token) -> None:
    with pytest.raises(UnsupportedItemError, match="SubjectPublicKeyInfo"):
        token.sign([SigningItem(b"not a key", Digest(bytes(32)))])


@pytest.mark.parametrize(
    ("algorithm", "payload"),
    [
        (KeyAlgorithm.ECDSA_P256, Digest(bytes(48))),
        (KeyAlgorithm.ECDSA_P384, Digest(bytes(32))),
        (KeyAlgorithm.RSA_PSS_2048, Digest(bytes(48))),
        (KeyAlgorithm.ECDSA_P256, Message(bytes(32))),
        (KeyAlgorithm.ED25519, Digest(bytes(32))),
    ],
)
def test_a_payload_that_does_not_fit_the_key_is_refused(
    token: Token, label: str, algorithm: KeyAlgorithm, payload: Digest | Message
) -> None:
    """SoftHSM would truncate a digest that is too long, and sign what nobody asked for."""
    key = token.generate(algorithm, label)

    with pytest.raises(UnsupportedItemError, match="signs a"):
        token.sign([SigningItem(key.public_key, payload)])


def test_a_refused_item_leaves_the_token_usable(token: Token, label: str) -> None:
    key = token.generate(KeyAlgorithm.ECDSA_P256, label)
    with pytest.raises(UnsupportedItemError):
        token.sign([SigningItem(key.public_key, Message(b""))])

    assert 1 == len(token.sign([SigningItem(key.public_key, Digest(bytes(32)))]))


def test_attributes_are_bound_to_the_public_key(token: Token, label: str) -> None:
    key = token.generate(KeyAlgorithm.ECDSA_P256, label)

    attributes = token.attributes(key.public_key)

    expected = (key.public_key, KeyAlgorithm.ECDSA_P256, label, key.key_id)
    assert expected == (attributes.public_key, attributes.algorithm, attributes.label, attributes.key_id)
    assert (True, True) == (attributes.local, attributes.sign)


def test_a_destroyed_key_is_gone_and_its_label_free(token: Token, label: str) -> None:
    key = token.generate(KeyAlgorithm.ED25519, label)
    other = token.generate(KeyAlgorithm.ED25519, f"{label}-other")

    token.destroy(key.public_key)

    assert 0 == token.keys().count(key)
    for use in (token.find, token.attributes, token.destroy):
        with pytest.raises(KeyNotFoundError):
            use(key.public_key)
    with pytest.raises(KeyNotFoundError):
        token.sign([SigningItem(key.public_key, Message(b""))])
    assert key.public_key != token.generate(KeyAlgorithm.ECDSA_P256, label).public_key
    assert other == token.find(other.public_key)


def test_a_closed_token_does_nothing(token: Token, label: str) -> None:
    key = token.generate(KeyAlgorithm.ECDSA_P256, label)
    token.close()
    token.close()

    for use in (
        token.keys,
        lambda: token.find(key.public_key),
        lambda: token.generate(KeyAlgorithm.ECDSA_P256, f"{label}-more"),
        lambda: token.sign([SigningItem(key.public_key, Digest(bytes(32)))]),
        lambda: token.attributes(key.public_key),
        lambda: token.destroy(key.public_key),
    ):
        with pytest.raises(TokenUnavailableError, match="closed"):
            use()
