"""Public keys as tokens show them, turned into SubjectPublicKeyInfo.

python-pkcs11 can do this for EC keys, and writes a wrong algorithm identifier for Ed25519; `cryptography` also refuses
points that are not on the curve.
"""

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_hsm.errors import UnsupportedItemError

# CKA_EC_PARAMS: the curve's object identifier, or (PKCS#11 3.0, Ed25519 only) its name as a PrintableString.
P256_PARAMS = bytes.fromhex("06082a8648ce3d030107")
P384_PARAMS = bytes.fromhex("06052b81040022")
ED25519_PARAMS = bytes.fromhex("06032b6570")
_ED25519_NAME = b"\x13\x0cedwards25519"

_CURVES: dict[bytes, ec.EllipticCurve] = {P256_PARAMS: ec.SECP256R1(), P384_PARAMS: ec.SECP384R1()}


def from_ec_attributes(params: bytes, point: bytes) -> bytes:
    """SubjectPublicKeyInfo (DER) of an EC or Edwards key from its CKA_EC_PARAMS and CKA_EC_POINT.

    Raises `UnsupportedItemError` for other curves and for points that are not on theirs.
    """
    try:
        if params in (ED25519_PARAMS, _ED25519_NAME):
            return _encoded(ed25519.Ed25519PublicKey.from_public_bytes(_unwrapped(point, 32)))
        curve = _CURVES.get(params)
        if curve is not None:
            size = 1 + 2 * ((curve.key_size + 7) // 8)
            return _encoded(ec.EllipticCurvePublicKey.from_encoded_point(curve, _unwrapped(point, size)))
    except ValueError as error:
        raise UnsupportedItemError(f"The key's CKA_EC_POINT cannot be read: {error}.") from error
    raise UnsupportedItemError(f"Keys on the curve with CKA_EC_PARAMS {params.hex()} are not supported.")


def from_rsa_attributes(modulus: bytes, exponent: bytes) -> bytes:
    """SubjectPublicKeyInfo (DER) of an RSA key from its CKA_MODULUS and CKA_PUBLIC_EXPONENT.

    Raises `UnsupportedItemError` for numbers that are no RSA key.
    """
    numbers = rsa.RSAPublicNumbers(e=int.from_bytes(exponent, "big"), n=int.from_bytes(modulus, "big"))
    try:
        return _encoded(numbers.public_key())
    except ValueError as error:
        raise UnsupportedItemError(f"The token's RSA key cannot be read: {error}.") from error


def _unwrapped(point: bytes, size: int) -> bytes:
    """CKA_EC_POINT is an OCTET STRING (PKCS#11 2.40), a BIT STRING (3.0) or bare (3.1); the length tells which."""
    for prefix in (b"", bytes([0x04, size]), bytes([0x03, size + 1, 0x00])):
        if len(point) == len(prefix) + size and point.startswith(prefix):
            return point.removeprefix(prefix)
    raise ValueError(f"{len(point)} bytes, where {size} were expected")


def _encoded(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
