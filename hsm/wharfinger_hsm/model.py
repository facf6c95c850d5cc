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
    """A whole message, for keys that hash it themselves: Ed25519, and any key that takes messages. At most 64 MiB."""

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
    """A key pair on the token. `public_key` is a SubjectPublicKeyInfo in DER; `key_id` is CKA_ID, or empty."""

    public_key: bytes
    algorithm: KeyAlgorithm
    label: str
    key_id: bytes
    takes_messages: bool = False
    """It signs whole `Message`s, whatever its algorithm, and no `Digest`: so do the signers of securesystemslib."""

    @property
    def digest_size(self) -> int | None:
        """Length in bytes of the digest that this key takes; None for one that takes whole messages."""
        return None if self.takes_messages else self.algorithm.digest_size


@dataclass(frozen=True, slots=True)
class KeyAttributes:
    """What a token tells about one of its private keys, bound to the public key's value. Nothing is assumed.

    Each field from `local` on is None when the token does not tell it. Mechanisms are called by their names in PKCS#11,
    as CKM_EC_KEY_PAIR_GEN, or by their number in hexadecimal. The answers are the module's word: proof could only be an
    attestation that the token's maker signed.
    """

    public_key: bytes
    algorithm: KeyAlgorithm
    label: str
    key_id: bytes
    local: bool | None = None
    sensitive: bool | None = None
    always_sensitive: bool | None = None
    extractable: bool | None = None
    never_extractable: bool | None = None
    private: bool | None = None
    modifiable: bool | None = None
    copyable: bool | None = None
    derive: bool | None = None
    decrypt: bool | None = None
    unwrap: bool | None = None
    sign: bool | None = None
    sign_recover: bool | None = None
    key_gen_mechanism: str | None = None
    allowed_mechanisms: tuple[str, ...] | None = None
    token_label: str | None = None
    token_serial: str | None = None
    token_manufacturer: str | None = None
    token_model: str | None = None
    library: str | None = None
    """The module's description of itself, with its maker and version."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """A token behind a PKCS#11 module.

    What is None does not matter; exactly one token must have all the rest. Slot numbers change whenever a token is
    made or a reader is plugged in: prefer label or serial. `pin_file` is read by the worker process alone.
    `environment` is given to the worker and to nobody else (SoftHSM reads `SOFTHSM2_CONF`, network HSM modules have
    their own).
    """

    module: Path
    token_label: str | None
    pin_file: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    serial: str | None = None
    slot: int | None = None
    manufacturer: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class SignerKey:
    """One signer of securesystemslib and the key that it signs with.

    `uri` is a private key URI, as securesystemslib's documentation lists them (`awskms:`, `gcpkms:`, `azurekms:`,
    `hv:`, `file2:`). `public_key_file` holds the public key as PEM, because most signers do not tell it.
    """

    uri: str
    public_key_file: Path
    label: str
    secret_file: Path | None = None
    """Holds what the signer may ask for, as a passphrase, on one line; read by the worker process alone."""


@dataclass(frozen=True, slots=True)
class SignerSettings:
    """Signers of securesystemslib that stand in for a token.

    `modules` are imported in the worker before the signers are made: a signer of one's own registers its scheme there.
    `environment` is all that the worker gets: credentials of a cloud's SDK, `HOME` where the SDK looks for them.
    """

    signers: tuple[SignerKey, ...]
    modules: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


KeySource = TokenSettings | SignerSettings
"""What a worker opens."""


def fingerprint(public_key: bytes) -> str:
    """How a public key is called in messages: the first 16 hexadecimal digits of the SHA-256 of its DER."""
    return sha256(public_key).hexdigest()[:16]
