"""The values of signing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SigningItem:
    """One thing to sign.

    Attributes:
        repository: the repository's name in the daemon's configuration.
        signed: the canonical JSON bytes of a TUF ``signed`` object, byte for byte.
        role: such as ``timestamp`` or ``bins-0a3f``; may be empty for root, snapshot and timestamp, whose bytes tell.
        keyid: the TUF keyid to sign with; empty for the one key of the role that the token holds.
    """

    repository: str
    signed: bytes
    role: str = ""
    keyid: str = ""


@dataclass(frozen=True)
class Signature:
    """A signature that the daemon verified before it returned it.

    Attributes:
        signature: the bytes, as TUF has them before hex encoding (ECDSA: DER).
        replayed: these bytes had been signed before, and this is the recorded signature.
        leaf_index: of the audit log's leaf that says so, from 0.
        leaf_hash: its hash in the log's Merkle tree, 32 bytes.
    """

    keyid: str
    signature: bytes
    role: str
    version: int
    replayed: bool
    leaf_index: int = 0
    leaf_hash: bytes = b""

    @property
    def sig(self) -> str:
        """The signature in the form of TUF metadata: lower-case hexadecimal."""
        return self.signature.hex()


@dataclass(frozen=True)
class LintResult:
    """What ``sign`` would say of one item. ``reason`` and ``message`` are empty if it would sign."""

    reason: str
    message: str
    keyid: str
    role: str
    version: int
    already_signed: bool

    @property
    def accepted(self) -> bool:
        """True if ``sign`` would sign the item."""
        return not self.reason


@dataclass(frozen=True)
class SigningKey:
    """A key that the verified metadata authorises and the token holds.

    Attributes:
        roles: the roles that the key may sign; ``bins-*`` stands for all bins.
        verified_at: when the daemon last verified the root that authorises the key; None if it did not say.
    """

    keyid: str
    keytype: str
    scheme: str
    public_key_pem: str
    roles: tuple[str, ...]
    verified_at: datetime | None
