"""Whatever signs in a ceremony, by its URI.

file:PATH      a private key in PEM (PKCS#8), encrypted or not; the passphrase is asked for
pkcs11:…       a key on a PKCS#11 token (``token_signer``)
all others     what securesystemslib knows (``file2:``, ``awskms:``, ``gcpkms:``, ``azurekms:``, ``hv:``, …)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signature, Signer, SSlibKey

from wharfinger_daemon.ceremony.keys import public_value
from wharfinger_daemon.ceremony.refusals import invalid, refused
from wharfinger_daemon.cli.ceremony import token_signer
from wharfinger_daemon.errors import Reason, UnavailableError

_FILES = {"file": "file:", "file2": "file2:"}


def require_known(uri: str, candidates: Mapping[str, Key]) -> None:
    """Refuses what can be refused before anything is opened or asked.

    Args:
        candidates: keys that may sign, by keyid.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; the scheme is unknown or of no use, or does not tell its key and there
            are several candidates.
    """
    scheme = uri.partition(":")[0]
    if scheme == "hsm":
        # It takes a wrong PIN for any other failure.
        raise invalid("A signer with an hsm: URI cannot be used. Name the token with a pkcs11: URI.")
    if scheme == token_signer.SCHEME:
        token_signer.parse_token_key_uri(uri)
    elif scheme not in _FILES and scheme not in SIGNER_FOR_URI_SCHEME:
        known = sorted({*SIGNER_FOR_URI_SCHEME, *_FILES, token_signer.SCHEME} - {"hsm"})
        raise invalid(f"No signer is known for {scheme!a}. Known are {', '.join(known)}.")
    elif scheme not in _FILES and len(candidates) != 1:
        raise invalid(f"A signer with a URI of {scheme}: does not tell which key it has. Name it with --key.")


def sign_with(uri: str, candidates: Mapping[str, Key], payload: bytes, ask: Callable[[str], str]) -> Signature:
    """One signature by the one key of these that the URI leads to. It is NOT verified: whoever keeps it does that.

    Args:
        candidates: keys that may sign, by keyid.
        ask: for secrets, without echo; gets what is asked for, such as ``PIN``.

    Raises:
        RefusedError: KEY_NOT_FOUND; the signer has none of the keys.
        UnavailableError: TOKEN_UNAVAILABLE; the signer fails.
        WharfingerError: as from ``token_signer.sign_on_token``.
    """
    scheme = uri.partition(":")[0]
    if scheme == token_signer.SCHEME:
        return token_signer.sign_on_token(token_signer.parse_token_key_uri(uri), candidates, payload, ask)
    if scheme in _FILES:
        return _file_signer(Path(uri.removeprefix(_FILES[scheme])), candidates, ask).sign(payload)
    (key,) = candidates.values()
    return _other(scheme, uri, key, payload, ask)


def _file_signer(path: Path, candidates: Mapping[str, Key], ask: Callable[[str], str]) -> CryptoSigner:
    private = _private_key(path, ask)
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = next((key for key in candidates.values() if public_value(key) == public), None)
    if not isinstance(key, SSlibKey):
        raise refused(f"{path} holds none of the keys that are wanted here.", Reason.KEY_NOT_FOUND)
    return CryptoSigner(private, key)


def _private_key(path: Path, ask: Callable[[str], str]) -> PrivateKeyTypes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise invalid(f"The private key {path} cannot be read: {error.strerror}.") from error
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:  # It is encrypted.
        passphrase = ask(f"passphrase of {path}")
    except (ValueError, UnsupportedAlgorithm):
        raise invalid(f"{path} holds no private key in PEM (PKCS#8).") from None
    try:
        return load_pem_private_key(content, password=passphrase.encode("utf-8"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise invalid(f"{path} cannot be decrypted: the passphrase is wrong, or the file is damaged.") from None


def _other(scheme: str, uri: str, key: Key, payload: bytes, ask: Callable[[str], str]) -> Signature:
    asked: list[str] = []

    def ask_once(name: str) -> str:
        asked.append(name)
        return ask(name)

    try:
        return Signer.from_priv_key_uri(uri, key, ask_once).sign(payload)
    except Exception as error:  # noqa: BLE001  # Signers are plug-ins, and raise whatever they like.
        # One that was told a secret is not quoted.
        why = type(error).__name__ if asked else f"{type(error).__name__}: {error}"
        failed = UnavailableError(f"The signer of {scheme}: failed ({why}).", reason=Reason.TOKEN_UNAVAILABLE)
        raise failed from (None if asked else error)
