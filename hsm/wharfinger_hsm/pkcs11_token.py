"""A token behind a PKCS#11 module. Only it and the modules whose names begin like its own import `pkcs11`.

It runs in a worker process, on one thread: python-pkcs11 initialises modules without CKF_OS_LOCKING_OK and releases
the GIL in each call, so that two threads crash SoftHSM. One session stays logged in for as long as the token is open:
log-in belongs to the application, and ending the session that logged in takes every other session's keys away.

After `TokenUnavailableError` nothing here is repaired: a failed C_Sign can leave its operation active, handles die
with the session, and modules cache what they saw. Whoever called closes the token, or better ends the process, and
starts again.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

from pkcs11 import exceptions as refusal
from pkcs11.constants import Attribute, ObjectClass

from wharfinger_hsm.errors import (
    KeyExistsError,
    KeyNotDestroyedError,
    KeyNotFoundError,
    SignatureInvalidError,
    TokenMissingError,
    TokenUnavailableError,
    UnsupportedItemError,
)
from wharfinger_hsm.labels import check_label
from wharfinger_hsm.model import (
    Digest,
    KeyAlgorithm,
    KeyAttributes,
    Message,
    SigningItem,
    TokenKey,
    TokenSettings,
    fingerprint,
)
from wharfinger_hsm.pkcs11_keys import RECIPES, UNTOLD, attributes_of, generate_pair, public_key_of, signer
from wharfinger_hsm.pkcs11_session import attribute_mapper, choose, describe, load, log_in, translated
from wharfinger_hsm.return_codes import Doing
from wharfinger_hsm.verification import check_item, read_public_key, verify

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Pair:
    key: TokenKey
    private: Any
    sign: Callable[[bytes], bytes]
    payload_kind: type[Digest | Message]
    payload_size: int | None


class Pkcs11Token:
    """Implements `Token` on a PKCS#11 module. One for each process and module: closing it finalises the module."""

    def __init__(self, library: Any, session: Any, settings: TokenSettings) -> None:
        self._library = library
        self._session: Any = session
        self._settings = settings
        self._pairs: dict[bytes, _Pair] = {}

    @classmethod
    def open(cls, settings: TokenSettings, pin: str) -> Self:
        """Loads the module, finds the one token that fits, and logs in, once.

        Raises `ModuleMissingError`, `TokenMissingError`, `WrongPinError`, or `TokenUnavailableError` for the rest.
        """
        library = load(settings.module)
        try:
            opened = cls(library, log_in(library, settings, pin), settings)
            opened.keys()
        except BaseException:
            with suppress(refusal.PKCS11Error):
                library.finalize()
            raise
        return opened

    def keys(self) -> list[TokenKey]:
        with translated(Doing.LISTING_KEYS):
            found = {pair.key.public_key: pair for pair in self._read_pairs()}
            self._require_presence()
        missing = self._pairs.keys() - found.keys()
        if missing:
            # Modules cache, and searches fail silently: do not believe this session any more.
            raise TokenUnavailableError(f"The token no longer shows {len(missing)} of its keys in this session.")
        self._pairs = found | self._pairs
        return sorted((pair.key for pair in found.values()), key=lambda key: (key.label, key.public_key))

    def find(self, public_key: bytes) -> TokenKey:
        return self._pair(public_key).key

    def generate(self, algorithm: KeyAlgorithm, label: str) -> TokenKey:
        check_label(label)
        with translated(Doing.GENERATING):
            if next(iter(self._open_session().get_objects({Attribute.LABEL: label})), None) is not None:
                raise KeyExistsError(f"The token has an object labelled {label!r} already. Choose another label.")
            with self._writing() as session:
                public, private = generate_pair(session, algorithm, label)
                if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
                    private.destroy()
                    public.destroy()
                    raise UnsupportedItemError("The token makes keys that can leave it; the new key was destroyed.")
                public_key = public_key_of(public)
        return self.find(public_key)

    def sign(self, items: Sequence[SigningItem]) -> list[bytes]:
        work = []
        for item in items:
            pair, payload = self._pairs.get(item.public_key), item.payload
            if pair is None:
                check_item(item)
                pair = self._pair(item.public_key)
            if type(payload) is not pair.payload_kind or pair.payload_size not in (None, len(payload.value)):
                check_item(item)
            work.append((pair.sign, payload.value))
        with translated(Doing.SIGNING):
            return [sign(payload) for sign, payload in work]

    def attributes(self, public_key: bytes) -> KeyAttributes:
        pair = self._pair(public_key)
        with translated(Doing.READING_ATTRIBUTES):
            return attributes_of(pair.key, pair.private, describe(self._library, self._open_session().token))

    def destroy(self, public_key: bytes) -> None:
        pair = self._pair(public_key)
        self._require_proof(pair)
        with translated(Doing.DESTROYING), self._writing() as session:
            # The private half first: whatever happens in between, nothing can be signed any more.
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for half in self._halves(session, pair, kind):
                    half.destroy()
                if list(self._halves(session, pair, kind)):
                    raise KeyNotDestroyedError(
                        f"The token kept the {kind.name.lower()} of {pair.key.label!r} ({fingerprint(public_key)}),"
                        " though it was told to destroy it. Destroy it with the tools of the token's maker."
                    )
            self._require_presence()
        del self._pairs[public_key]

    def close(self) -> None:
        if self._session is None:
            return
        session, self._session, self._pairs = self._session, None, {}
        # A dead token cannot say goodbye; C_Finalize drops what C_CloseSession could not.
        with suppress(refusal.PKCS11Error):
            session.close()
        with suppress(refusal.PKCS11Error):
            self._library.finalize()

    def _open_session(self) -> Any:
        if self._session is None:
            raise TokenUnavailableError("The token is closed.")
        return self._session

    def _require_presence(self) -> None:
        """An empty answer alone proves nothing: this raises unless the module still reaches the token."""
        try:
            choose(self._library, self._settings)
        except TokenMissingError as error:
            raise TokenUnavailableError(str(error)) from error

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """A session that may write. It inherits the log-in, and closing it logs nobody out."""
        session = self._open_session().token.open(rw=True, attribute_mapper=attribute_mapper())
        try:
            yield session
        finally:
            session.close()

    def _pair(self, public_key: bytes) -> _Pair:
        self._open_session()
        if public_key not in self._pairs:
            self.keys()
        try:
            return self._pairs[public_key]
        except KeyError:
            unknown, token = fingerprint(public_key), self._session.token.label
            raise KeyNotFoundError(f"Token {token!r} holds no usable key {unknown}.") from None

    def _read_pairs(self) -> Iterator[_Pair]:
        session = self._open_session()
        by_id: dict[bytes, list[Any]] = {}
        for private in list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.SIGN: True})):
            by_id.setdefault(private[Attribute.ID], []).append(private)
        for public in list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})):
            try:
                public_key = public_key_of(public)
                _, algorithm = read_public_key(public_key)
                key_id, label = public[Attribute.ID], public[Attribute.LABEL]
            except (UnsupportedItemError, *UNTOLD):
                continue  # Another application's key.
            recipe = RECIPES[algorithm]
            privates = [key for key in by_id.get(key_id, []) if key[Attribute.KEY_TYPE] == recipe.key_type]
            if len(privates) == 1:
                key, size = TokenKey(public_key, algorithm, label, key_id), algorithm.digest_size
                kind = Message if size is None else Digest
                yield _Pair(key, privates[0], signer(privates[0], recipe), kind, size)
            else:
                logger.warning("Key %r is ignored: %d private keys have its CKA_ID.", label, len(privates))

    def _require_proof(self, pair: _Pair) -> None:
        """CKA_ID alone joins the halves, and whoever can write objects can set it: destroy no other key's half."""
        nonce = secrets.token_bytes(32 if pair.payload_size is None else pair.payload_size)
        item = SigningItem(pair.key.public_key, pair.payload_kind(nonce))
        try:
            verify(item, self.sign([item])[0])
        except SignatureInvalidError as error:
            raise UnsupportedItemError(
                f"The private key with the CKA_ID of {pair.key.label!r} belongs to another public key. Nothing was"
                " destroyed: examine the token."
            ) from error

    def _halves(self, session: Any, pair: _Pair, kind: ObjectClass) -> Iterator[Any]:
        key_type = RECIPES[pair.key.algorithm].key_type
        for half in list(session.get_objects({Attribute.CLASS: kind, Attribute.ID: pair.key.key_id})):
            if half[Attribute.KEY_TYPE] != key_type:
                continue
            with suppress(UnsupportedItemError):  # Another application's key, on another curve.
                if kind is ObjectClass.PRIVATE_KEY or public_key_of(half) == pair.key.public_key:
                    yield half
