"""PKCS#11 URIs (RFC 7512) that name a token.

Accepted are the attributes token, serial, slot-id, manufacturer and model in the path, module-path and pin-source in
the query; each at most once. What names an object (object, type, id) is refused, because keys are found by their public
key's value; so is pin-value, because a PIN never stands in a configuration; so is every attribute that would be
ignored, because then another token than the meant one could be used.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from wharfinger_hsm.errors import TokenUriError

_SCHEME = "pkcs11:"
_PATH = {"token", "serial", "slot-id", "manufacturer", "model"}
_QUERY = {"module-path", "pin-source"}
_OBJECT = {"object", "type", "id"}
_OTHERS = _PATH | _QUERY | {"library-manufacturer", "library-version", "library-description"}
_OTHERS |= {"slot-manufacturer", "slot-description"}
_WHY_NOT = {
    "pin-value": "a PIN never stands in a configuration; use pin-source=file:PATH, or a PIN file beside the URI",
    "module-name": "what it means differs from host to host; use module-path",
    **dict.fromkeys(_OBJECT, "keys are found by their public key's value; name the token only"),
}

# RFC 7512, section 2.3: what may stand for itself in a value; all else is percent-encoded.
_UNRESERVED = r"A-Za-z0-9\-._~"
_PATH_VALUE = re.compile(rf"(?:[{_UNRESERVED}:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{{2}})+")
_QUERY_VALUE = re.compile(rf"(?:[{_UNRESERVED}:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{{2}})+")
# CK_SLOT_ID is an unsigned long.
_SLOT = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A token as its URI names it; None is what the URI does not say."""

    label: str | None = None
    serial: str | None = None
    slot: int | None = None
    manufacturer: str | None = None
    model: str | None = None
    module: Path | None = None
    pin_file: Path | None = None


def parse_token_uri(uri: str) -> TokenUri:
    """Reads a URI. Raises `TokenUriError`, whose message never quotes a value that could be a PIN."""
    if not uri.startswith(_SCHEME):
        raise TokenUriError("A PKCS#11 URI begins with 'pkcs11:'.")
    path, question, query = uri.removeprefix(_SCHEME).partition("?")
    said = _attributes(path, ";", _PATH, _PATH_VALUE) | _attributes(query, "&", _QUERY, _QUERY_VALUE)
    if question and not query:
        raise TokenUriError("The PKCS#11 URI has nothing behind its question mark.")
    if not said.keys() & _PATH:
        raise TokenUriError(f"The PKCS#11 URI names no token. Give at least one of {', '.join(sorted(_PATH))}.")
    return TokenUri(
        label=said.get("token"),
        serial=said.get("serial"),
        slot=_slot(said.get("slot-id")),
        manufacturer=said.get("manufacturer"),
        model=said.get("model"),
        module=_absolute("module-path", said.get("module-path")),
        pin_file=_pin_file(said.get("pin-source")),
    )


def _attributes(part: str, separator: str, known: set[str], value_pattern: re.Pattern[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for attribute in part.split(separator) if part else ():
        name, equals, value = attribute.partition("=")
        if name not in known:
            raise TokenUriError(_refused(name))
        if not equals or value_pattern.fullmatch(value) is None:
            raise TokenUriError(f"The PKCS#11 URI's {name} is empty, or holds characters that must be percent-encoded.")
        if name in found:
            raise TokenUriError(f"The PKCS#11 URI says {name} twice.")
        found[name] = _decoded(name, value)
    return found


def _refused(name: str) -> str:
    # What stands where a name should be can be anything, a PIN too: only names of the RFC are quoted.
    shown = repr(name) if name in _WHY_NOT or name in _OTHERS else "an unknown attribute"
    why = _WHY_NOT.get(name, f"known here are {', '.join(sorted(_PATH | _QUERY))}")
    return f"The PKCS#11 URI has {shown}, which is not accepted: {why}."


def _decoded(name: str, value: str) -> str:
    try:
        decoded = unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise TokenUriError(f"The PKCS#11 URI's {name} is not UTF-8.") from None
    if not decoded.isprintable():
        raise TokenUriError(f"The PKCS#11 URI's {name} holds characters that cannot be printed.")
    return decoded


def _slot(value: str | None) -> int | None:
    if value is None:
        return None
    if _SLOT.fullmatch(value) is None or int(value) >= 2**64:
        raise TokenUriError("The PKCS#11 URI's slot-id is not a slot's number.")
    return int(value)


def _pin_file(source: str | None) -> Path | None:
    """RFC 7512, section 2.4: a file: URI or a path; here of this host, and never the output of a program."""
    if source is None:
        return None
    for prefix in ("file://localhost/", "file:///", "file:/", "/"):
        if source.startswith(prefix):
            return _absolute("pin-source", "/" + source.removeprefix(prefix))
    raise TokenUriError("The PKCS#11 URI's pin-source must be file: and an absolute path.")


def _absolute(name: str, value: str | None) -> Path | None:
    if value is None:
        return None
    if not value.startswith("/"):
        raise TokenUriError(f"The PKCS#11 URI's {name} must be an absolute path.")
    return Path(value)
