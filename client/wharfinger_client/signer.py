"""Signing through the daemon for everything that is written against securesystemslib: python-tuf and its users.

    from securesystemslib.signer import Signer
    from wharfinger_client import signer

    signer.register()
    timestamp_signer = Signer.from_priv_key_uri("wharfinger:pypi/4e…?address=localhost:50051&ca=…", public_key)
    metadata.sign(timestamp_signer)

The URI is described in ``_signer_uri``. This is the one module of the client that needs securesystemslib, 1.4.0 or
later, and, for every key but Ed25519, cryptography: ``pip install "wharfinger[signer]"``. Nothing else imports it, and
nothing is registered until ``register`` is called.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import replace
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Protocol, Self

from securesystemslib.exceptions import UnsupportedLibraryError, UnverifiedSignatureError, VerificationError
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Key, SecretsHandler, Signature, Signer

from wharfinger_client import signing
from wharfinger_client._signer_uri import SCHEME, SignerUri
from wharfinger_client.client import Client
from wharfinger_client.errors import ServerError

# DER of an Ed25519 SubjectPublicKeyInfo up to the 32 bytes of the key (RFC 8410, section 4).
_ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")
_ED25519_BYTES = 32
# No signature of anything: it has the length of an Ed25519 one, and is not the DER that ECDSA wants.
_NO_SIGNATURE = "00" * 64


def register() -> None:
    """Makes ``Signer.from_priv_key_uri`` know the scheme ``wharfinger``. May be called again."""
    SIGNER_FOR_URI_SCHEME[WharfingerSigner.SCHEME] = WharfingerSigner


class SigningClient(Protocol):
    """What a signer calls of a ``Client``."""

    def sign_metadata(self, repository: str, signed: bytes, *, role: str = "", keyid: str = "") -> signing.Signature:
        """As ``Client.sign_metadata``."""
        ...

    def close(self) -> None:
        """As ``Client.close``."""
        ...


class WharfingerSigner(Signer):
    """Signs TUF metadata with one key of the daemon.

    The daemon signs what it understands and nothing else: the canonical JSON of root, targets, snapshot or timestamp
    metadata, once for each version of a role. The same bytes return the same signature; other bytes for a version that
    was used are refused. No DSSE envelope and no other bytes can be signed.

    Constructing one reads no file and no environment, and connects to nothing. It may be shared by threads and
    constructed before a fork; each process opens its own connection, which all signers made by ``for_role`` share.

    Args:
        client: how to reach the daemon; ``close`` closes it.
        repository: the repository's name in the daemon's configuration.
        public_key: of the key that signs, which the daemon is asked for by its keyid.
        role: the TUF role; may be empty for root, snapshot and timestamp, whose bytes tell.
    """

    SCHEME = SCHEME

    def __init__(self, client: SigningClient, repository: str, public_key: Key, *, role: str = "") -> None:
        self._client = client
        self._repository = repository
        self._public_key = public_key
        self._role = role

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> WharfingerSigner:
        """The signer for a ``wharfinger:`` URI.

        What the URI leaves out of the connection is looked up in the environment at the first signature, because some
        tools hide the environment while they make their signers. ``secrets_handler`` is never called: the daemon has
        the PIN, and the caller's TLS key is a file.

        Raises:
            ValueError: the URI is malformed, names another key than ``public_key``, or ``public_key`` is none that can
                verify a signature.
            UnsupportedLibraryError: cryptography is not installed, and the key is not an Ed25519 key.
        """
        uri = SignerUri.parse(priv_key_uri)
        if uri.keyid != public_key.keyid:
            raise ValueError(
                f"'{priv_key_uri}' names another key than the public key that came with it, {public_key.keyid}. Give "
                "the public key of the key that it names, or correct the URI."
            )
        _require_verifies(public_key)
        return cls(_ClientOfUri(uri), uri.repository, public_key, role=uri.role)

    @classmethod
    def import_(
        cls,
        repository: str,
        keyid: str = "",
        *,
        role: str = "",
        address: str = "",
        ca: str = "",
        certificate: str = "",
        key: str = "",
        server_name: str = "",
    ) -> tuple[str, Key]:
        """Asks the daemon for a key; returns its URI and its public key.

        The URI has the parameters that were given here, and not those that came from the environment. The public key
        is what the daemon says that the verified metadata has: before you delegate to it, compare it with the record
        of the ceremony.

        Args:
            repository: the repository's name in the daemon's configuration.
            keyid: which key; may be empty where only one remains.
            role: what the key must be able to sign, such as ``timestamp`` or ``bins-0a3f``; goes into the URI.

        Raises:
            ValueError: none or several of the daemon's keys remain.
            SettingsError: the connection is incomplete, or a file cannot be used.
            WharfingerError: the daemon cannot be reached or refuses, as from ``Client.list_signing_keys``.
        """
        asked = SignerUri(repository, keyid, role, address, ca, certificate, key, server_name)
        with Client(asked.settings(os.environ)) as client:
            listed = list(client.list_signing_keys(repository))
        chosen = _only(asked, listed)
        return str(replace(asked, keyid=chosen.keyid)), _public_key(chosen)

    @property
    def public_key(self) -> Key:
        """The public key of the key that signs."""
        return self._public_key

    def for_role(self, role: str) -> WharfingerSigner:
        """The same key and connection for another role: for a bin, one signer after another."""
        return type(self)(self._client, self._repository, self._public_key, role=role)

    def sign(self, payload: bytes) -> Signature:
        """Has the daemon sign, and verifies what it returns.

        Safe to repeat: the same bytes return the same signature.

        Args:
            payload: the canonical JSON of a TUF ``signed`` object, which is sent as it is.

        Raises:
            WharfingerError: the daemon cannot be reached or refuses, as from ``Client.sign``; ``reason`` says why.
            SettingsError: the connection is incomplete, or a file cannot be used.
            ServerError: it answered with the signature of another key.
            UnverifiedSignatureError: the public key does not verify the signature, which must not be used.
        """
        made = self._client.sign_metadata(self._repository, payload, role=self._role, keyid=self._public_key.keyid)
        if made.keyid != self._public_key.keyid:
            message = f"The daemon was asked to sign with key {self._public_key.keyid}, and did with {made.keyid}."
            raise ServerError(message)
        signature = Signature(made.keyid, made.sig)
        try:
            self._public_key.verify_signature(signature, payload)
        except UnverifiedSignatureError as error:
            raise UnverifiedSignatureError(
                f"The daemon's signature of version {made.version} of '{made.role}' in repository '{self._repository}' "
                f"does not verify with the public key {made.keyid}. Do not use it. Compare the public key with the one "
                "that the repository's root or delegation has under this keyid."
            ) from error
        return signature

    def close(self) -> None:
        """Closes the connection of this process, for all signers that share it. Not needed before the program ends."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _ClientOfUri:
    """A client whose settings are completed from the environment at its first call."""

    def __init__(self, uri: SignerUri) -> None:
        self._uri = uri
        self._client: Client | None = None
        self._closed = False

    def sign_metadata(self, repository: str, signed: bytes, *, role: str = "", keyid: str = "") -> signing.Signature:
        return self._made().sign_metadata(repository, signed, role=role, keyid=keyid)

    def close(self) -> None:
        self._closed = True
        if self._client is not None:
            self._client.close()

    def _made(self) -> Client:
        # No lock, which a fork could inherit held: of two clients that threads make at once, one is soon forgotten.
        client = self._client
        if client is None:
            client = self._client = Client(self._uri.settings(os.environ))
        if self._closed:
            client.close()
        return client


def _require_verifies(public_key: Key) -> None:
    """Has a signature refused that is none, so that what is wrong with the key shows before anything is signed."""
    try:
        public_key.verify_signature(Signature(public_key.keyid, _NO_SIGNATURE), b"")
    except VerificationError as error:
        if isinstance(error.__cause__, UnsupportedLibraryError):
            raise UnsupportedLibraryError(
                f"Signatures of key {public_key.keyid} ({public_key.scheme}) cannot be verified without the library "
                'cryptography. Install "wharfinger[signer]".'
            ) from error
        raise ValueError(
            f"The public key {public_key.keyid} ({public_key.scheme}) cannot verify signatures: {error.__cause__}. "
            "Give the public key as the repository's metadata has it."
        ) from error
    except UnverifiedSignatureError:
        return
    raise ValueError(f"The public key {public_key.keyid} takes anything for a signature. Give another one.")


def _only(asked: SignerUri, listed: list[signing.SigningKey]) -> signing.SigningKey:
    fitting = [
        one
        for one in listed
        if asked.keyid in ("", one.keyid)
        and (not asked.role or any(fnmatchcase(asked.role, pattern) for pattern in one.roles))
    ]
    if len(fitting) == 1:
        return fitting[0]
    wanted = f"key{f' {asked.keyid}' if asked.keyid else ''}{f' for role {asked.role}' if asked.role else ''}"
    there = "; ".join(f"{one.keyid} for {', '.join(one.roles)}" for one in listed) or "none"
    found = "more than one" if fitting else "no"
    raise ValueError(
        f"The daemon has {found} {wanted} in repository '{asked.repository}'. Name one of those that it has: {there}."
    )


def _public_key(listed: signing.SigningKey) -> Key:
    public = listed.public_key_pem
    if listed.keytype == "ed25519":
        public = _ed25519_hex(listed)
    description: dict[str, Any] = {
        "keytype": listed.keytype,
        "scheme": listed.scheme,
        "keyval": {"public": public},
    }
    return Key.from_dict(listed.keyid, description)


def _ed25519_hex(listed: signing.SigningKey) -> str:
    """TUF has Ed25519 keys as the hexadecimal of the bare 32 bytes (TUF specification 4.2)."""
    armour = listed.public_key_pem.split("-----")
    try:
        der = base64.b64decode("".join(armour[2].split()), validate=True)
    except (IndexError, binascii.Error):
        der = b""
    if len(der) != len(_ED25519_PREFIX) + _ED25519_BYTES or not der.startswith(_ED25519_PREFIX):
        raise ServerError(f"The daemon lists key {listed.keyid} as an Ed25519 key, and its PEM holds none.")
    return der.removeprefix(_ED25519_PREFIX).hex()
