"""New keys: what they are called in the token, what TUF calls them, and when one that waits is taken instead."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.signer import Key, SSlibKey

from wharfinger_daemon.keys.life_cycle import Keys, LineKey
from wharfinger_daemon.keys.lines import KeyLine
from wharfinger_daemon.signing.standing import KeyState


@dataclass(frozen=True)
class TokenKeyPair:
    """A key pair on the token: its DER SubjectPublicKeyInfo, and its algorithm as ``KeyLine`` calls it."""

    public_key: bytes
    label: str
    algorithm: str


def next_label(line: str, used: Iterable[str]) -> str:
    """The label for the next key of a line: ``LINE-N``, above every number that was ever used for it."""
    numbered = re.compile(rf"{re.escape(line)}-([1-9][0-9]{{0,8}})")
    numbers = [int(match[1]) for label in used if (match := numbered.fullmatch(label))]
    return f"{line}-{max(numbers, default=0) + 1}"


def pending_key(line: KeyLine, keys: Keys, pairs: Collection[TokenKeyPair]) -> LineKey | None:
    """The newest key that was generated for a line and waits to be published; another need not be made.

    It is still on the token, has the line's algorithm, and its destruction was not begun.
    """
    fitting = {pair.public_key for pair in pairs if pair.algorithm == line.algorithm}
    waiting = [
        key
        for key in keys.values()
        if key.line == line.name
        and key.state is KeyState.GENERATED
        and key.destroyed_at is None
        and key.public_key in fitting
    ]
    return max(waiting, key=lambda key: (key.generated_at, key.label), default=None)


def generated_key(line: str, pair: TokenKeyPair, at: datetime) -> LineKey:
    """The life of a key that was just generated."""
    key = tuf_key(pair.public_key)
    return LineKey(
        keyid=key.keyid,
        line=line,
        state=KeyState.GENERATED,
        label=pair.label,
        public_key=pair.public_key,
        keytype=key.keytype,
        scheme=key.scheme,
        generated_at=at,
    )


def tuf_key(public_key: bytes) -> Key:
    """A public key as TUF metadata has it: for a ceremony, with the keyid that securesystemslib computes.

    Args:
        public_key: DER SubjectPublicKeyInfo.
    """
    return SSlibKey.from_crypto(load_der_public_key(public_key))
