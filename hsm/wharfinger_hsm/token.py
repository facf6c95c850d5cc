"""The port: what every token can do."""

from collections.abc import Sequence
from typing import Protocol

from wharfinger_hsm.model import KeyAlgorithm, SigningItem, TokenKey


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
        """Signs all items or none, in their order; each signature is verified with its public key before it is given.

        ECDSA signatures are DER (`ECDSA-Sig-Value`), RSA-PSS and Ed25519 raw. Raises `UnsupportedItemError` when a
        payload does not fit its key and `KeyNotFoundError` for unknown keys. `SignatureInvalidError` means a faulty
        token: close it, and do not use it again.
        """
        ...

    def close(self) -> None:
        """Ends the session; other methods raise `TokenUnavailableError` from then on. Closing twice does nothing."""
        ...
