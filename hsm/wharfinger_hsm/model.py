"""The values that this package speaks in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from wharfinger_hsm.errors import UnsupportedItemError

DIGEST_SIZES = frozenset({32, 48})
"""SHA-256 and SHA-384, in bytes."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""A whole message must fit into one frame to a worker."""


class KeyAlgorithm(StrEnum):
    """What a key pair can do. One key has one algorithm, and one digest that it signs."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    ED25519 = "ed25519"
    RSA_PSS_2048 = "rsa-pss-2048"
    RSA_PSS_3072 = "rsa-pss-3072"
    RSA_PSS_4096 = "rsa-pss-4096"

    @property
    def digest_size(self) -> int | None:
        """Length in bytes of the digest that this key signs; None for a key that signs whole messages.

        32 is SHA-256 and 48 is SHA-384. RSA-PSS uses SHA-256 for the digest and for MGF1, with a salt of 32 bytes.
        """
        match self:
            case KeyAlgorithm.ED25519:
                return None
            case KeyAlgorithm.ECDSA_P384:
                return 48
            case _:
                return 32


@dataclass(frozen=True, slots=True)
class Digest:
    """A SHA-256 (32 bytes) or SHA-384 (48 bytes) digest, for ECDSA and RSA-PSS keys.

    The length is enforced here, and against the key again, because SoftHSM truncates what is too long and signs it
    without a word.
    """

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) not in DIGEST_SIZES:
            raise UnsupportedItemError(
                f"A digest of {len(self.value)} bytes cannot be signed; give 32 (SHA-256) or 48 (SHA-384)."
            )


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, for Ed25519 keys, which hash it themselves. At most 64 MiB."""

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) > MAX_MESSAGE_BYTES:
            raise UnsupportedItemError(
                f"A message of {len(self.value)} bytes cannot be signed; the limit is {MAX_MESSAGE_BYTES} bytes."
            )


@dataclass(frozen=True, slots=True)
class SigningItem:
    """One thing to sign.

    `public_key` (SubjectPublicKeyInfo, DER) chooses the key: labels and ids can be duplicated, its value cannot.
    """

    public_key: bytes
    payload: Digest | Message


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key pair on the token. `public_key` is a SubjectPublicKeyInfo in DER; `key_id` is CKA_ID."""

    public_key: bytes
    algorithm: KeyAlgorithm
    label: str
    key_id: bytes


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Where the token is.

    `pin_file` is read by the worker process alone. `environment` is given to the worker and to nobody else (SoftHSM
    reads `SOFTHSM2_CONF`, network HSM modules have their own).
    """

    module: Path
    token_label: str
    pin_file: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def fingerprint(public_key: bytes) -> str:
    """How a public key is called in messages: the first 16 hexadecimal digits of the SHA-256 of its DER."""
    return sha256(public_key).hexdigest()[:16]
