"""Signing on a PKCS#11 token that somebody brought to a ceremony, named by a ``pkcs11:`` URI (RFC 7512).

    pkcs11:token=alice;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin

The key is found by its public value, which the metadata lists; ``object`` (its label) and ``id`` (its CKA_ID) narrow
the choice where a token holds several that may sign. Without ``pin-source`` the PIN is asked for. It is tried once.

The module is loaded in a worker process, as the daemon's is: one that crashes or hangs takes nothing else with it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from securesystemslib.signer import Key, Signature

from wharfinger_daemon.ceremony.keys import public_value
from wharfinger_daemon.ceremony.refusals import invalid, refused
from wharfinger_daemon.custody.opening import startup_errors
from wharfinger_daemon.errors import FatalConfigurationError, Reason
from wharfinger_hsm.errors import TokenUriError, WrongPinError
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.model import Digest, Message, SigningItem, TokenKey, TokenSettings
from wharfinger_hsm.supervisor import HsmSupervisor
from wharfinger_hsm.token_uri import TokenUri, parse_token_uri
from wharfinger_hsm.verification import digest_of

SCHEME = "pkcs11"

# A person may have to find the token's button, and touch it.
_SIGNING_SECONDS = 120.0
_OBJECT = re.compile(r"(object|id|type)=(.*)", re.DOTALL)
_ESCAPED = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True)
class TokenKeyUri:
    """A key on a token; None is what the URI does not say."""

    token: TokenUri
    module: Path
    label: str | None
    key_id: bytes | None

    def fits(self, key: TokenKey) -> bool:
        return self.label in (None, key.label) and self.key_id in (None, key.key_id)


def parse_token_key_uri(uri: str) -> TokenKeyUri:
    """Reads a URI; what names the token follows the rules of ``wharfinger_hsm.token_uri``.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; no PIN is ever quoted.
    """
    path, question, query = uri.removeprefix(f"{SCHEME}:").partition("?")
    objects: dict[str, bytes] = {}
    others = []
    for attribute in path.split(";"):
        match = _OBJECT.fullmatch(attribute)
        if match is None:
            others.append(attribute)
            continue
        if match[1] in objects or _ESCAPED.fullmatch(match[2]) is None:
            raise invalid(f"The PKCS#11 URI says {match[1]} twice, or with characters that must be percent-encoded.")
        objects[match[1]] = unquote_to_bytes(match[2])
    if objects.pop("type", b"private") != b"private":
        raise invalid("The PKCS#11 URI's type must be private: it is a private key that signs.")
    try:
        token = parse_token_uri(f"{SCHEME}:{';'.join(others)}{question}{query}")
        label = objects["object"].decode("utf-8") if "object" in objects else None
    except TokenUriError as error:
        raise invalid(str(error)) from error
    except UnicodeDecodeError:
        raise invalid("The PKCS#11 URI's object is not UTF-8.") from None
    if token.module is None:
        raise invalid("The PKCS#11 URI needs module-path, as in pkcs11:token=NAME?module-path=/path/of/the/module.so.")
    return TokenKeyUri(token, token.module, label, objects.get("id"))


def sign_on_token(
    uri: TokenKeyUri, candidates: Mapping[str, Key], payload: bytes, ask: Callable[[str], str]
) -> Signature:
    """Signs with the one key that the token holds of these.

    Args:
        candidates: by keyid.
        ask: for the PIN, where the URI names no file with it.

    Raises:
        FatalConfigurationError: WRONG_PIN; it was tried once.
        StartupError: the module or the token is not there, or fails.
        RefusedError: KEY_NOT_FOUND; the token holds none of the keys, or several.
    """
    with _pin_file(uri, ask) as pin_file:
        token = uri.token
        settings = TokenSettings(
            module=uri.module,
            token_label=token.label,
            pin_file=pin_file,
            # Modules find their own configuration through it, as SoftHSM does through SOFTHSM2_CONF.
            environment=dict(os.environ),
            serial=token.serial,
            slot=token.slot,
            manufacturer=token.manufacturer,
            model=token.model,
        )
        with startup_errors():
            try:
                return asyncio.run(_sign(settings, uri, candidates, payload))
            except WrongPinError as error:
                raise FatalConfigurationError(
                    f"{error} Most tokens lock after a few attempts.", reason=Reason.WRONG_PIN
                ) from error


async def _sign(settings: TokenSettings, uri: TokenKeyUri, candidates: Mapping[str, Key], payload: bytes) -> Signature:
    supervisor = HsmSupervisor(settings, limits=SupervisorLimits(ceiling=_SIGNING_SECONDS))
    try:
        await supervisor.start()
        key, chosen = _chosen(uri, candidates, await supervisor.keys())
        digest = digest_of(chosen.algorithm, payload)
        item = SigningItem(chosen.public_key, Message(payload) if digest is None else Digest(digest))
        (signature,) = await supervisor.sign([item], timeout_seconds=_SIGNING_SECONDS)
    finally:
        await supervisor.close()
    return Signature(key.keyid, signature.hex())


def _chosen(uri: TokenKeyUri, candidates: Mapping[str, Key], held: Sequence[TokenKey]) -> tuple[Key, TokenKey]:
    by_value = {public_value(key): key for key in candidates.values()}
    found = [(by_value[key.public_key], key) for key in held if uri.fits(key) and key.public_key in by_value]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(f"'{ascii(key.label)[1:-1]}' (CKA_ID {key.key_id.hex() or 'empty'})" for key in held)
    if found:
        raise refused(
            f"The token holds {len(found)} keys that may sign: name one with --key, or by object= or id= in the URI. "
            f"It shows {shown}.",
            Reason.KEY_NOT_FOUND,
        )
    raise refused(
        f"The token holds no key that is wanted here, or not under the object or id in the URI. It shows "
        f"{shown or 'no key pairs'}. Is the public key on the token, too?",
        Reason.KEY_NOT_FOUND,
    )


@contextmanager
def _pin_file(uri: TokenKeyUri, ask: Callable[[str], str]) -> Iterator[Path]:
    """A file with the PIN: the one that the URI names, or one in memory alone, which ends with this process."""
    if uri.token.pin_file is not None:
        yield uri.token.pin_file
        return
    descriptor = os.memfd_create("pin", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, ask("PIN").encode("utf-8"))
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)
