"""The forms of C2SP's tlog-checkpoint and signed-note, and the keys that sign them."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_daemon.audit.checkpoint import (
    Checkpoint,
    CheckpointError,
    LogKey,
    parse_vkey,
    read_checkpoint,
    verify_with_any,
)

ORIGIN = "example.com/log/1f2e3d4c"
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)

ROOT = hashlib.sha256(b"root").digest()
CHECKPOINT = Checkpoint(ORIGIN, 42, ROOT)


def der(private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


KEY = LogKey(ORIGIN, der(ED25519))


def signed(checkpoint: Checkpoint = CHECKPOINT) -> bytes:
    return KEY.note(checkpoint, ED25519.sign(checkpoint.body())).note


def test_body_is_origin_size_and_root_each_on_a_line() -> None:
    assert f"{ORIGIN}\n42\n{base64.b64encode(ROOT).decode()}\n".encode() == CHECKPOINT.body()


def test_verifier_key_of_ed25519_is_that_of_signed_note() -> None:
    """Name, the first four bytes of SHA-256 over name, newline and key, and the key after its type 0x01."""
    typed = b"\x01" + ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    hashed = hashlib.sha256(ORIGIN.encode() + b"\n" + typed).digest()[:4].hex()
    assert f"{ORIGIN}+{hashed}+{base64.b64encode(typed).decode()}" == KEY.vkey


def test_note_is_the_body_an_empty_line_and_the_signature_after_the_hash_of_its_key() -> None:
    body, _, line = signed().partition(b"\n\n")
    dash, name, encoded = line.decode().removesuffix("\n").split(" ")
    value = base64.b64decode(encoded)
    assert (CHECKPOINT.body(), "—", ORIGIN) == (body + b"\n", dash, name)
    assert KEY.vkey.split("+")[1] == value[:4].hex()
    ED25519.public_key().verify(value[4:], CHECKPOINT.body())


@pytest.mark.parametrize("private", [P256, P384, RSA], ids=["p256", "p384", "rsa"])
def test_other_kinds_of_keys_have_a_type_that_nobody_takes_for_ed25519(
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    encoded = base64.b64decode(LogKey(ORIGIN, der(private)).vkey.split("+", 2)[2])
    assert b"\xffwharfinger.x509-spki\x00" + der(private) == encoded


@pytest.mark.parametrize(
    ("private", "kind"), [(P256, hashes.SHA256()), (P384, hashes.SHA384()), (RSA, hashes.SHA256())]
)
def test_token_is_asked_for_the_digest_that_the_key_signs(
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, kind: hashes.HashAlgorithm
) -> None:
    key = LogKey(ORIGIN, der(private))
    message, digest = key.to_sign(CHECKPOINT)
    assert (CHECKPOINT.body(), hashlib.new(kind.name, message).digest()) == (message, digest)
    if isinstance(private, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(kind), salt_length=kind.digest_size)
        signature = private.sign(message, pss, kind)
    else:
        signature = private.sign(message, ec.ECDSA(kind))
    note = key.note(CHECKPOINT, signature).note
    assert CHECKPOINT == parse_vkey(key.vkey).verify(note)
    with pytest.raises(CheckpointError, match="does not hold"):
        key.note(CHECKPOINT, signature[:-1] + bytes([signature[-1] ^ 1]))


def test_ed25519_signs_the_message_itself() -> None:
    assert (CHECKPOINT.body(), None) == KEY.to_sign(CHECKPOINT)


@given(st.integers(0, 2**63), st.binary(min_size=32, max_size=32))
def test_whatever_is_signed_is_read_again(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert checkpoint == KEY.verify(signed(checkpoint)) == read_checkpoint(signed(checkpoint))


@given(st.data())
def test_note_with_any_byte_changed_is_not_this_checkpoint(data: st.DataObject) -> None:
    """A byte of a signature line may be redundant; then the same checkpoint is read, never another."""
    note = bytearray(signed())
    place = data.draw(st.integers(0, len(note) - 1))
    note[place] ^= data.draw(st.integers(1, 255))
    try:
        read = KEY.verify(bytes(note))
    except CheckpointError:
        return
    assert CHECKPOINT == read


@given(st.binary(max_size=200))
def test_garbage_is_refused_as_such(content: bytes) -> None:
    with pytest.raises(CheckpointError):
        KEY.verify(content)


@pytest.mark.parametrize("size", ["-1", "+42", "042", "4_2", " 42", "42 ", "٤٢", "0x2a", "", "4e1", "9" * 5000])
def test_size_is_a_decimal_number_without_leading_zeros(size: str) -> None:
    other = signed().replace(b"\n42\n", f"\n{size}\n".encode())
    with pytest.raises(CheckpointError, match="This is no"):
        read_checkpoint(other)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_root_has_the_length_of_the_hash(length: int) -> None:
    body = Checkpoint(ORIGIN, 42, b"r" * length).body()
    with pytest.raises(CheckpointError, match="This is no"):
        read_checkpoint(body + b"\n" + signed().partition(b"\n\n")[2])


def test_signature_in_base64_that_is_not_canonical_is_refused() -> None:
    """Two notes of one signature would otherwise differ in bytes that nobody signed."""
    line = signed().partition(b"\n\n")[2].decode()
    assert line.endswith("=\n"), "four and 64 bytes leave unused bits"
    last = line[-3]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(last) ^ 1]
    with pytest.raises(CheckpointError, match="no signed note"):
        KEY.verify(CHECKPOINT.body() + b"\n" + f"{line[:-3]}{other}=\n".encode())


def test_checkpoint_of_another_log_is_refused_even_with_the_same_key() -> None:
    other = LogKey("example.com/other", der(ED25519))
    note = other.note(
        Checkpoint("example.com/other", 42, ROOT), ED25519.sign(Checkpoint("example.com/other", 42, ROOT).body())
    )
    with pytest.raises(CheckpointError, match="is of the log 'example"):
        KEY.verify(note.note)


def test_signature_under_another_name_does_not_count() -> None:
    with pytest.raises(CheckpointError, match="signed with another key"):
        KEY.verify(signed().replace(f"— {ORIGIN}".encode(), "— example.com/other".encode()))


def test_two_signatures_of_one_key_are_refused() -> None:
    """Which of them counts would be for each reader to decide."""
    note = signed()
    with pytest.raises(CheckpointError, match="signed with another key"):
        KEY.verify(note + note.partition(b"\n\n")[2])


def test_log_outlives_its_keys_and_what_is_said_of_none_is_what_the_present_one_says() -> None:
    present = LogKey(ORIGIN, der(P256))
    assert CHECKPOINT == verify_with_any([present, KEY], signed())
    with pytest.raises(CheckpointError, match="signed with another key"):
        verify_with_any([present], signed())


@pytest.mark.parametrize(
    "name", ["", "a b", "a\nb", "a\u2003b", "\ta"], ids=["empty", "space", "newline", "wide space", "tab"]
)
def test_verifier_key_with_a_name_that_cannot_stand_in_a_note_is_refused(name: str) -> None:
    typed = b"\x01" + ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    hashed = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4].hex()
    with pytest.raises(CheckpointError, match="no verifier key"):
        parse_vkey(f"{name}+{hashed}+{base64.b64encode(typed).decode()}")


@pytest.mark.parametrize(
    "public",
    [
        ed448.Ed448PrivateKey.generate().public_key(),
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
    ],
    ids=["ed448", "p521", "secp256k1"],
)
def test_key_of_a_kind_that_signs_no_checkpoints_is_refused(
    public: ed448.Ed448PublicKey | ec.EllipticCurvePublicKey,
) -> None:
    with pytest.raises(ValueError, match="Ed25519, ECDSA on P-256 or P-384, nor RSA"):
        LogKey(ORIGIN, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_key_whose_kind_the_library_does_not_support_is_refused() -> None:
    """An object identifier that nobody gave a meaning."""
    with pytest.raises(ValueError, match="kind that cannot be used"):
        LogKey(ORIGIN, bytes.fromhex("300d300806062b8f0001020103010000")[:15])
