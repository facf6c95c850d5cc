"""The ``wharfinger:`` URI, which names a key of the daemon, and how the daemon is reached. Needs no TUF library.

    wharfinger:REPOSITORY/KEYID?role=ROLE&address=HOST:PORT&ca=FILE&certificate=FILE&key=FILE&server_name=NAME

Everything behind the question mark may be left out. A connection parameter that is left out is taken from the
environment, when the daemon is first called: ``WHARFINGER_ADDRESS``, ``WHARFINGER_CA``, ``WHARFINGER_CERTIFICATE``,
``WHARFINGER_KEY``, ``WHARFINGER_SERVER_NAME``. Characters are percent-encoded as RFC 3986 has it; a plus sign is a plus
sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self
from urllib.parse import quote, unquote

from wharfinger_client.errors import SettingsError
from wharfinger_client.settings import ClientSettings, TlsIdentity

SCHEME = "wharfinger"

_FORM = (
    f"{SCHEME}:REPOSITORY/KEYID, and behind it, where needed, ?role=ROLE&address=HOST:PORT&ca=FILE&certificate=FILE"
    "&key=FILE&server_name=NAME"
)
_NAMED = ("repository", "keyid")
_OPTIONAL_CONNECTION = ("server_name",)


@dataclass(frozen=True)
class SignerUri:
    """What the URI says. What it leaves out is empty.

    Attributes:
        repository: the repository's name in the daemon's configuration.
        keyid: the TUF keyid of the key that signs.
        role: the TUF role; needed for those that the signed bytes do not tell (targets, and every delegated role).
        address: where the daemon listens, ``HOST:PORT``.
        ca: the file with the authorities that may vouch for the daemon.
        certificate: the file with the caller's certificate.
        key: the file with the caller's private TLS key. It has nothing to do with the key that signs.
        server_name: the name that the daemon's certificate must have, where that is not the host of the address.
    """

    repository: str
    keyid: str
    role: str = ""
    address: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a URI.

        Raises:
            ValueError: it is malformed; the message says what to write.
        """
        scheme, _, rest = text.partition(":")
        if scheme != SCHEME:
            raise _malformed(text, f"its scheme is not '{SCHEME}'")
        if not (text.isascii() and text.isprintable()) or " " in text or "#" in text:
            raise _malformed(text, "it has a space, a # or another character that must be percent-encoded")
        path, question, query = rest.partition("?")
        named = path.split("/")
        if len(named) != len(_NAMED) or not all(named):
            raise _malformed(text, "it does not name a repository and a key, with one slash between them")
        values = {name: _decoded(text, name, value) for name, value in zip(_NAMED, named, strict=True)}
        for parameter in query.split("&") if question else ():
            name, _, value = parameter.partition("=")
            if name not in _PARAMETERS:
                raise _malformed(text, f"it has a parameter '{name}', and there are only {', '.join(_PARAMETERS)}")
            if name in values:
                raise _malformed(text, f"it has the parameter '{name}' twice")
            values[name] = _decoded(text, name, value)
        return cls(**values)

    def __str__(self) -> str:
        """The URI, which ``parse`` reads as the same."""
        given = {name: value for name in _PARAMETERS if (value := getattr(self, name))}
        query = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in given.items())
        path = "/".join(quote(getattr(self, name), safe="") for name in _NAMED)
        return f"{SCHEME}:{path}?{query}" if query else f"{SCHEME}:{path}"

    def settings(self, environment: Mapping[str, str]) -> ClientSettings:
        """How to reach the daemon. No file is read.

        Raises:
            SettingsError: something stands neither in the URI nor in the environment, or the address has no port.
        """
        found = {name: getattr(self, name) or environment.get(_variable(name), "") for name in _CONNECTION}
        missing = [name for name in _CONNECTION if not found[name] and name not in _OPTIONAL_CONNECTION]
        if missing:
            raise SettingsError(
                f"'{self}' does not say how to reach the daemon: {', '.join(missing)}. Add "
                f"{'&'.join(f'{name}=…' for name in missing)} to it, or set {', '.join(map(_variable, missing))}."
            )
        address = found.pop("address")
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()):
            raise SettingsError(f"The daemon's address '{address}' is not HOST:PORT, such as localhost:50051.")
        return ClientSettings(address, TlsIdentity(**found))


_PARAMETERS = tuple(field.name for field in fields(SignerUri) if field.name not in _NAMED)
_CONNECTION = tuple(name for name in _PARAMETERS if name != "role")


def _variable(name: str) -> str:
    return f"WHARFINGER_{name.upper()}"


def _decoded(text: str, name: str, value: str) -> str:
    try:
        decoded = unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise _malformed(text, f"'{name}' is not UTF-8 after percent-decoding") from error
    if not decoded or not decoded.isprintable():
        raise _malformed(text, f"'{name}' is empty or has a control character")
    return decoded


def _malformed(text: str, why: str) -> ValueError:
    return ValueError(f"{text!r} is not the URI of a key of wharfinger: {why}. Write {_FORM}.")
