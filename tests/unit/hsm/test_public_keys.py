"""Reading public keys as files have them and as tokens show them."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_hsm.errors import UnsupportedItemError
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem
from wharfinger_hsm.spki import ED25519_PARAMS, P256_PARAMS, P384_PARAMS, from_ec_attributes, from_rsa_attributes
from wharfinger_hsm.verification import check_item, read_public_key

ED25519_NAME = b"\x13\x0cedwards25519"


def der(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def octet_string(point: bytes) -> bytes:
    return bytes([4, len(point)]) + point


def bit_string(point: bytes) -> bytes:
    return bytes([3, len(point) + 1, 0]) + point


@pytest.mark.parametrize("encoded", [bytes, octet_string, bit_string], ids=["bare", "OCTET STRING", "BIT STRING"])
@pytest.mark.parametrize(("curve", "params"), [(ec.SECP256R1(), P256_PARAMS), (ec.SECP384R1(), P384_PARAMS)])
def test_ec_points_are_read_in_each_encoding_that_tokens_use(encoded, curve, params) -> None:  # type: ignore[no-untyped-def]
    key = ec.generate_private_key(curve).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    assert der(key) == from_ec_attributes(params, encoded(point))


@pytest.mark.parametrize("encoded", [bytes, octet_string, bit_string], ids=["bare", "OCTET STRING", "BIT STRING"])
@pytest.mark.parametrize("params", [ED25519_PARAMS, ED25519_NAME], ids=["OID", "name"])
def test_edwards_points_are_read_in_each_encoding_that_tokens_use(encoded, params) -> None:  # type: ignore[no-untyped-def]
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    point = key.public_bytes(Encoding.Raw, PublicFormat.Raw)

    assert der(key) == from_ec_attributes(params, encoded(point))


def test_an_edwards_point_that_starts_like_a_wrapper_is_still_bare() -> None:
    """The length decides: 32 bytes are a bare point, whatever they start with."""
    seeds = (ed25519.Ed25519PrivateKey.from_private_bytes(n.to_bytes(32, "big")).public_key() for n in range(2000))
    key = next(key for key in seeds if key.public_bytes(Encoding.Raw, PublicFormat.Raw)[0] == 4)

    assert der(key) == from_ec_attributes(ED25519_PARAMS, key.public_bytes(Encoding.Raw, PublicFormat.Raw))


@pytest.mark.parametrize(
    ("params", "point"),
    [
        (P256_PARAMS, b"\x04" + bytes(63)),
        (P256_PARAMS, b"\x04" + b"\x01" * 64),
        (P256_PARAMS, b""),
        (ED25519_PARAMS, bytes(57)),
        (P384_PARAMS, b"\x04" + bytes(64)),
    ],
    ids=["short", "not on the curve", "empty", "Ed448", "P-256 as P-384"],
)
def test_a_point_that_is_none_is_refused(params: bytes, point: bytes) -> None:
    with pytest.raises(UnsupportedItemError, match="CKA_EC_POINT"):
        from_ec_attributes(params, point)


def test_other_curves_are_refused() -> None:
    with pytest.raises(UnsupportedItemError, match="not supported"):
        from_ec_attributes(bytes.fromhex("06052b81040023"), bytes(133))


def test_rsa_keys_are_read_from_their_numbers() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    modulus = key.public_numbers().n.to_bytes(256, "big")

    assert der(key) == from_rsa_attributes(modulus, b"\x01\x00\x01")
    assert der(key) == from_rsa_attributes(b"\x00" + modulus, b"\x00\x01\x00\x01")


def test_numbers_that_are_no_rsa_key_are_refused() -> None:
    with pytest.raises(UnsupportedItemError, match="RSA"):
        from_rsa_attributes(b"\x00", b"\x02")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key(),
    ],
    ids=["P-521", "Ed448", "RSA-1024"],
)
def test_keys_of_other_algorithms_are_refused(key: ec.EllipticCurvePublicKey) -> None:
    with pytest.raises(UnsupportedItemError, match="algorithm other than"):
        read_public_key(der(key))


@pytest.mark.parametrize("algorithm", [*KeyAlgorithm])
def test_the_algorithm_is_read_from_the_key(algorithm: KeyAlgorithm) -> None:
    key = MemoryToken().generate(algorithm, "key")
    size = algorithm.digest_size
    payload = Message(b"") if size is None else Digest(bytes(size))

    assert algorithm == read_public_key(key.public_key)[1]
    assert algorithm == check_item(SigningItem(key.public_key, payload))
