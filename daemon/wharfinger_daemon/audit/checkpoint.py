"""Checkpoints: what the log vouches for, signed, in the form of C2SP's tlog-checkpoint and signed-note.

    example.com/log/1f2e3d4c
    42
    u5sgT5pP…= (the root hash in base64)
                                        (an empty line)
    — example.com/log/1f2e3d4c VnR6… (four bytes of the hash of the key, and the signature, in base64)

Ed25519 is signature type 0x01, which every implementation knows. Keys of other kinds use the type 0xff with the
identifier ``wharfinger.x509-spki`` and the key as DER SubjectPublicKeyInfo, and only this program verifies them.

A note may carry signatures of others too, as witnesses add them: they are left alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from wharfinger_daemon.audit.merkle import HASH_BYTES

_ED25519 = b"\x01"
_OTHER = b"\xffwharfinger.x509-spki\x00"
_DASH = "—"
_HASH_BYTES_OF_KEY = 4

_PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class CheckpointError(ValueError):
    """A note is no checkpoint of this log, or its signature does not hold."""


@dataclass(frozen=True)
class Checkpoint:
    """The first ``size`` leaves of the log named ``origin`` have this root hash."""

    origin: str
    size: int
    root: bytes

    def body(self) -> bytes:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n".encode()


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint and its signed note."""

    checkpoint: Checkpoint
    note: bytes


def read_checkpoint(note: bytes) -> Checkpoint:
    """The checkpoint of a note, whose signature is not checked.

    Raises:
        CheckpointError: it is not in the strict form that is written here.
    """
    text, _ = _parts(note)
    lines = text.split("\n")
    try:
        origin, size, encoded = lines
        checkpoint = Checkpoint(origin, int(size), base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error) as error:
        raise CheckpointError(f"This is no checkpoint: {error}.") from error
    well_formed = len(checkpoint.root) == HASH_BYTES and checkpoint.size >= 0 and origin
    if checkpoint.body() != f"{text}\n".encode() or not well_formed:
        raise CheckpointError("This is no checkpoint: its size or its root is not written as it must be.")
    return checkpoint


class LogKey:
    """The public key of a log, under the log's origin.

    Args:
        public_key: DER SubjectPublicKeyInfo.

    Raises:
        ValueError: the key is of a kind that cannot sign checkpoints.
    """

    def __init__(self, origin: str, public_key: bytes) -> None:
        self.origin = origin
        self.public_key = public_key
        self._key = _load(public_key)
        self._encoded = (
            _ED25519 + self._key.public_bytes(Encoding.Raw, PublicFormat.Raw)
            if isinstance(self._key, ed25519.Ed25519PublicKey)
            else _OTHER + public_key
        )
        self._hash = hashlib.sha256(f"{origin}\n".encode() + self._encoded).digest()[:_HASH_BYTES_OF_KEY]

    @property
    def vkey(self) -> str:
        """The verifier key of signed-note: all that is needed to verify checkpoints."""
        return f"{self.origin}+{self._hash.hex()}+{base64.b64encode(self._encoded).decode('ascii')}"

    def to_sign(self, checkpoint: Checkpoint) -> tuple[bytes, bytes | None]:
        """What the token is asked to sign: the message, and its digest for a key that signs digests."""
        body = checkpoint.body()
        kind = _digest_of(self._key)
        return body, None if kind is None else hashlib.new(kind.name, body).digest()

    def note(self, checkpoint: Checkpoint, signature: bytes) -> SignedCheckpoint:
        """The signed note.

        Raises:
            CheckpointError: the signature is not this key's.
        """
        shown = base64.b64encode(self._hash + signature).decode("ascii")
        note = checkpoint.body() + f"\n{_DASH} {self.origin} {shown}\n".encode()
        return SignedCheckpoint(self.verify(note), note)

    def verify(self, note: bytes) -> Checkpoint:
        """Checks a note.

        Raises:
            CheckpointError: it is no checkpoint of this log, or its signature does not hold.
        """
        checkpoint = read_checkpoint(note)
        _, signatures = _parts(note)
        if checkpoint.origin != self.origin:
            raise CheckpointError(f"This checkpoint is of the log '{checkpoint.origin}', and not of '{self.origin}'.")
        mine = [value for name, value in signatures if (name, value[:_HASH_BYTES_OF_KEY]) == (self.origin, self._hash)]
        if len(mine) != 1:
            raise CheckpointError("This checkpoint was signed with another key.")
        try:
            self._verify(mine[0][_HASH_BYTES_OF_KEY:], checkpoint)
        except InvalidSignature as error:
            raise CheckpointError("The signature of this checkpoint does not hold.") from error
        return checkpoint

    def _verify(self, signature: bytes, checkpoint: Checkpoint) -> None:
        message, digest = self.to_sign(checkpoint)
        kind = _digest_of(self._key)
        if isinstance(self._key, ed25519.Ed25519PublicKey):
            self._key.verify(signature, message)
            return
        assert kind is not None and digest is not None  # Only Ed25519 takes the whole message.
        if isinstance(self._key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(kind), salt_length=padding.PSS.AUTO)
            self._key.verify(signature, digest, pss, Prehashed(kind))
        else:
            self._key.verify(signature, digest, ec.ECDSA(Prehashed(kind)))


def verify_with_any(keys: Sequence[LogKey], note: bytes) -> Checkpoint:
    """Checks a note that one of several keys has signed: a log outlives its keys.

    Raises:
        CheckpointError: none has; what the first one says of it.
    """
    failures = []
    for key in keys:
        try:
            return key.verify(note)
        except CheckpointError as error:
            failures.append(error)
    raise failures[0]


def parse_vkey(vkey: str) -> LogKey:
    """A verifier key as ``LogKey.vkey`` writes it.

    Raises:
        CheckpointError: it is none.
    """
    try:
        origin, hashed, encoded = vkey.strip().split("+", 2)
        content = base64.b64decode(encoded, validate=True)
        if content.startswith(_OTHER):
            key = LogKey(origin, content.removeprefix(_OTHER))
        elif content.startswith(_ED25519):
            raw = ed25519.Ed25519PublicKey.from_public_bytes(content.removeprefix(_ED25519))
            key = LogKey(origin, raw.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        else:
            raise ValueError("its signature type is not known here")
        if not origin or any(character.isspace() for character in origin):
            raise ValueError("its name is empty or has spaces in it")
        if key.vkey != f"{origin}+{hashed}+{encoded}":
            raise ValueError("its hash is not that of its key, or the key is not written as it must be")
    except (ValueError, binascii.Error) as error:
        raise CheckpointError(f"This is no verifier key: {error}. It looks like NAME+HASH+KEY.") from error
    return key


def _parts(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Text and signatures of a note, each by the name that it was made under."""
    try:
        text, separator, rest = note.decode("utf-8").partition("\n\n")
        signatures = [_signature(line) for line in rest.removesuffix("\n").split("\n")]
    except (ValueError, binascii.Error) as error:
        raise CheckpointError(f"This is no signed note: {error}.") from error
    if not separator or not rest.endswith("\n"):
        raise CheckpointError("This is no signed note: it does not end as it must.")
    return text, signatures


def _signature(line: str) -> tuple[str, bytes]:
    dash, name, encoded = line.split(" ")
    value = base64.b64decode(encoded, validate=True)
    canonical = base64.b64encode(value).decode("ascii") == encoded
    if dash != _DASH or not name or len(value) <= _HASH_BYTES_OF_KEY or not canonical:
        raise ValueError("a line of a signature is not one")
    return name, value


def _load(public_key: bytes) -> _PublicKey:
    try:
        key = load_der_public_key(public_key)
    except UnsupportedAlgorithm as error:
        raise ValueError(f"the key is of a kind that cannot be used: {error}") from error
    if isinstance(key, ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    raise ValueError("the key is neither Ed25519, ECDSA on P-256 or P-384, nor RSA")


def _digest_of(key: _PublicKey) -> hashes.SHA256 | hashes.SHA384 | None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()
