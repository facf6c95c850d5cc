"""Keys of verified metadata: loaded once, asked and verified as securesystemslib does."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import Signature, SSlibKey

from wharfinger_daemon.errors import UnavailableError
from wharfinger_daemon.signing.keys import AuthorisedKey, can_be_held
from wharfinger_daemon.signing.memory_keys import MemoryKeys

SIGNED = b'{"_type":"timestamp"}'
SHA256 = hashlib.sha256(SIGNED).digest()

PRIVATE_KEYS = {
    "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-sha2-nistp384": ec.generate_private_key(ec.SECP384R1()),
    "rsassa-pss-sha256": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
DIGESTS = {
    "ecdsa-sha2-nistp256": SHA256,
    "ecdsa-sha2-nistp384": hashlib.sha384(SIGNED).digest(),
    "rsassa-pss-sha256": SHA256,
    "ed25519": None,
}

each_scheme = pytest.mark.parametrize("scheme", PRIVATE_KEYS)


def key_of(scheme):
    return SSlibKey.from_crypto(PRIVATE_KEYS[scheme].public_key())


@each_scheme
async def test_signature_over_the_request_is_one_that_securesystemslib_verifies(scheme):
    key = key_of(scheme)
    assert scheme == key.scheme
    authorised = AuthorisedKey(key)
    request = authorised.request(SIGNED, SHA256)
    assert (SIGNED, DIGESTS[scheme]) == (request.message, request.digest)
    [signature] = await MemoryKeys([PRIVATE_KEYS[scheme]]).sign([request], timeout_seconds=1)
    key.verify_signature(Signature(key.keyid, signature.hex()), SIGNED)


@each_scheme
async def test_key_is_known_by_the_value_that_the_token_shows(scheme):
    public_key = PRIVATE_KEYS[scheme].public_key()
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    authorised = AuthorisedKey(key_of(scheme))
    assert der == authorised.der
    assert frozenset({der}) == await MemoryKeys([PRIVATE_KEYS[scheme]]).public_keys()
    assert public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() == authorised.pem


@pytest.mark.parametrize(
    ("scheme", "private"),
    [
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp256"),
        ("rsassa-pss-sha256", "ecdsa-sha2-nistp256"),
        ("ecdsa-sha2-nistp256", "rsassa-pss-sha256"),
    ],
)
def test_key_of_another_kind_than_its_scheme_is_refused(scheme, private):
    value = SSlibKey.from_crypto(PRIVATE_KEYS[private].public_key()).keyval
    with pytest.raises(ValueError, match="is not a key for"):
        AuthorisedKey(SSlibKey("keyid", "any", scheme, value))


def test_key_that_a_token_cannot_make_is_left_to_offline_roles():
    assert not can_be_held(SSlibKey.from_crypto(ec.generate_private_key(ec.SECP521R1()).public_key()))
    assert can_be_held(key_of("ed25519"))


async def test_keys_in_memory_can_be_switched_off_and_sign_with_no_other_key():
    keys = MemoryKeys([])
    request = AuthorisedKey(key_of("ed25519")).request(SIGNED, SHA256)
    with pytest.raises(UnavailableError):
        await keys.sign([request], timeout_seconds=1)
    keys.available = False
    with pytest.raises(UnavailableError):
        await keys.public_keys()
