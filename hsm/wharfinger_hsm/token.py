"""The port: what every token can do."""

from collections.abc import Sequence
from typing import Protocol

from wharfinger_hsm.model import KeyAlgorithm, KeyAttributes, SigningItem, TokenKey


class Token(Protocol):
    """Key pairs that sign and never leave. Synchronous, and for one thread at a time.

    Each method may raise `TokenUnavailableError`; the token must then be closed and opened anew, since neither its
    session nor its handles can be trusted. The other errors listed with a method leave the token as good as it was.
    """

    def keys(self) -> list[TokenKey]:
        """All usable key pairs, sorted by label and public key. Read from the token at each call."""
        ...

    def find(self, public_key: bytes) -> TokenKey:
        """The key pair with this SubjectPublicKeyInfo (DER), compared by value.

        Raises `KeyNotFoundError` only when the token itself is demonstrably there.
        """
        ...

    def generate(self, algorithm: KeyAlgorithm, label: str) -> TokenKey:
        """Makes a key pair that stays on the token, can only sign, and only with the one mechanism of `algorithm`.

        Raises `KeyExistsError` when any object has this label, `UnsupportedItemError` for a label that is not plain
        (see `labels.check_label`) or an algorithm that the token cannot do. Not idempotent.
        """
        ...

    def sign(self, items: Sequence[SigningItem]) -> list[bytes]:
        """Signs all items or none, in their order. The signatures are NOT verified: whoever gives them out does that.

        ECDSA signatures are DER (`ECDSA-Sig-Value`), RSA-PSS and Ed25519 raw. Raises `UnsupportedItemError` when a
        payload does not fit its key and `KeyNotFoundError` for unknown keys.
        """
        ...

    def attributes(self, public_key: bytes) -> KeyAttributes:
        """What the token tells about a private key. Raises `KeyNotFoundError`."""
        ...

    def destroy(self, public_key: bytes) -> None:
        """Destroys both halves of a key pair, for ever, and looks whether they are gone. Not idempotent.

        Raises `KeyNotFoundError`, `UnsupportedItemError` when the private half belongs to another public key or the
        token has no way to destroy keys, and `KeyNotDestroyedError` when the token keeps a half: the private one goes
        first, so that what was begun can sign no more.
        """
        ...

    def close(self) -> None:
        """Ends the session; other methods raise `TokenUnavailableError` from then on. Closing twice does nothing."""
        ...
