"""From the bytes of a ``signed`` object to typed facts.

Steps, each with its own reason for refusal: (1) JSON, (2) canonical, byte for byte, (3) the type fits the role, (4) the
specification version, (5) the structure of that type. Nothing but ``InvalidRequestError`` comes out, whatever goes in.

Canonical JSON is compared after encoding anew, which also refuses everything that a lenient parser lets pass: repeated
keys, white space, escapes, other orders, numbers with a fraction. Integers beyond 64 bits are refused too, for most
readers take them for something else. Unknown attributes are allowed, as the specification demands of its readers
(section 4.1), and are signed with the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeGuard

import orjson

from wharfinger_daemon import canonical
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.signing.model import MetadataFacts, SigningPolicy
from wharfinger_daemon.signing.same_reading import NotReadAlikeError, brief, require_same_reading

TOP_LEVEL_ROLES = frozenset({"root", "targets", "snapshot", "timestamp"})

MAX_VERSION = 2**63 - 1  # PEP 458: eight bytes suffice; the ledger stores no more.

_SPEC_VERSION = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})(\.(0|[1-9][0-9]{0,5}))?")
_DIGITS = re.compile(r"[0-9]+")
# Clients compare with what their library writes: two lower-case digits for each byte.
_HASH = re.compile(r"([0-9a-f]{2}){1,128}")
_HEXADECIMAL = re.compile(r"[0-9a-f]*")
_HASH_CHARACTERS = {"sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "blake2b-256": 64}
_INTEGERS = range(-(2**63), 2**64)
_INTEGER_CHARACTERS = 20
# From the year 1000 on: python-tuf writes earlier ones without the leading zeros.
_EXPIRES = re.compile(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True)
class ReadMetadata:
    """What was read.

    Attributes:
        target_paths: the paths that a targets role lists; empty for other types.
        delegates: whether a targets role delegates further.
    """

    facts: MetadataFacts
    target_paths: tuple[str, ...] = ()
    delegates: bool = False


@dataclass(frozen=True)
class CanonicalObject:
    """A JSON object that was proven canonical, before it is known to be TUF metadata.

    Attributes:
        signed: its bytes.
    """

    value: Mapping[str, Any]
    signed: bytes

    @property
    def version(self) -> int:
        """The version it claims; 0 if it claims none that could be."""
        version = self.value.get("version")
        return version if _is_version(version) else 0

    def role(self, asked: str) -> str:
        """The role: the one asked for, or the one that ``_type`` names beyond doubt.

        Raises:
            InvalidRequestError: none was named, and the type leaves it open; or the type does not fit the role.
        """
        kind = self.value.get("_type")
        if asked:
            expected = asked if asked in TOP_LEVEL_ROLES else "targets"
            if kind != expected:
                raise InvalidRequestError(
                    f"Role '{brief(asked)}' needs metadata whose _type is '{expected}', and this says {_shown(kind)}.",
                    reason=Reason.ROLE_TYPE_MISMATCH,
                    role=asked,
                )
            return asked
        if isinstance(kind, str) and kind in TOP_LEVEL_ROLES - {"targets"}:
            return kind
        raise InvalidRequestError(
            f"The role cannot be told from the _type, which is {_shown(kind)}. Name the role.",
            reason=Reason.ROLE_REQUIRED,
        )


def parse(signed: bytes) -> CanonicalObject:
    """Reads bytes that must be the canonical JSON of one object.

    Raises:
        InvalidRequestError: NOT_JSON, or NOT_CANONICAL_JSON.
    """
    value = _json(signed)
    if not isinstance(value, dict):
        raise InvalidRequestError("The bytes are JSON, but not an object.", reason=Reason.NOT_TUF_METADATA)
    if canonical.encode(value) != signed:
        raise InvalidRequestError(
            "The bytes are JSON, but not canonical JSON: encoding their content anew gives other bytes. Send exactly "
            "what a TUF library signs.",
            reason=Reason.NOT_CANONICAL_JSON,
        )
    return CanonicalObject(value, signed)


def read(document: CanonicalObject, role: str, policy: SigningPolicy) -> ReadMetadata:
    """Reads TUF metadata of a role whose type was checked. The document must not be used again afterwards.

    Raises:
        InvalidRequestError: SPEC_VERSION_UNSUPPORTED, or NOT_TUF_METADATA with what is wrong.
    """
    value = dict(document.value)
    spec_version = value.get("spec_version")
    if not isinstance(spec_version, str) or not _SPEC_VERSION.fullmatch(spec_version):
        _refuse(f"spec_version is {_shown(spec_version)}")
    if not policy.speaks(spec_version):
        raise InvalidRequestError(
            f"spec_version {spec_version} is not one that is signed here: {', '.join(policy.spec_versions)}.",
            reason=Reason.SPEC_VERSION_UNSUPPORTED,
        )
    version = value.get("version")
    if not _is_version(version):
        _refuse(f"version is {_shown(version)}")
    kind = value["_type"]
    expires = _expires(value.get("expires"))
    meta = _meta(kind, value)
    paths = _paths(kind, value)
    delegates = kind == "targets" and "delegations" in value
    try:
        require_same_reading(kind, value, document.signed)
    except NotReadAlikeError as error:
        _refuse(str(error), error)
    return ReadMetadata(MetadataFacts(role, kind, version, expires, meta, spec_version), paths, delegates)


def _json(signed: bytes) -> Any:
    try:
        return orjson.loads(signed)
    except orjson.JSONDecodeError:
        pass
    # Canonical JSON writes control characters as they are, so that PEM keys hold raw newlines; orjson does not read
    # these, the standard library does when it is not strict.
    try:
        return json.loads(
            signed.decode("utf-8"), strict=False, parse_constant=_refuse_constant, parse_int=_bounded_integer
        )
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"The bytes are not JSON: {brief(error)}.", reason=Reason.NOT_JSON) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _bounded_integer(digits: str) -> int:
    # The same bound as orjson's, which reads greater ones as floats, or not at all.
    if len(digits) <= _INTEGER_CHARACTERS and int(digits) in _INTEGERS:
        return int(digits)
    raise InvalidRequestError(
        "The bytes hold an integer of more than 64 bits, which readers do not read alike.",
        reason=Reason.NOT_CANONICAL_JSON,
    )


def _is_version(value: object) -> TypeGuard[int]:
    # bool is a subclass of int, and True would pass for version 1.
    return type(value) is int and 1 <= value <= MAX_VERSION


def _expires(value: object) -> datetime:
    if not isinstance(value, str) or not _EXPIRES.fullmatch(value):
        _refuse(f"expires is {_shown(value)}, and must look like 2030-01-31T00:00:00Z")
    try:
        # The pattern has made sure of the places; strptime would take ten times as long.
        year, month, day, hour, minute, second = map(int, _DIGITS.findall(value))
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        _refuse(f"expires is {_shown(value)}, which is no date", error)


def _meta(kind: str, value: Mapping[str, Any]) -> dict[str, int]:
    if kind not in ("snapshot", "timestamp"):
        return {}
    files = value.get("meta")
    if not isinstance(files, dict):
        _refuse("meta is not an object")
    versions: dict[str, int] = {}
    for name, file in files.items():
        version = file.get("version") if type(file) is dict else None
        # Written out, for a snapshot has thousands: as in ``_is_version``.
        if name[-5:] != ".json" or type(version) is not int or not 1 <= version <= MAX_VERSION:
            _refuse(f"meta has an entry {_shown(name)} that is not a file NAME.json with a version")
        versions[name[:-5]] = version
    _require_measures(files)
    if kind == "timestamp" and set(versions) != {"snapshot"}:
        _refuse("the meta of a timestamp must name snapshot.json and nothing else")
    if kind == "snapshot" and ("targets" not in versions or versions.keys() & {"snapshot", "timestamp"}):
        _refuse("the meta of a snapshot must name targets.json, and neither snapshot.json nor timestamp.json")
    return versions


def _paths(kind: str, value: Mapping[str, Any]) -> tuple[str, ...]:
    if kind != "targets":
        return ()
    targets = value.get("targets")
    if not isinstance(targets, dict):
        _refuse("targets is not an object")
    for path, file in targets.items():
        if not isinstance(file, dict):
            _refuse(f"the target {_shown(path)} is not an object")
    _require_measures(targets)
    return tuple(targets)


def _require_measures(files: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a length or a hash, where they are given, that no file can have: no client would ever accept one."""
    if _plain_measures(files):
        return
    for name, file in files.items():
        _require_length(name, file.get("length", 0))
        _require_hashes(name, file.get("hashes", {}))


def _plain_measures(files: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all lengths and hashes are certainly good: all at once takes a fraction of the time of one by one."""
    lengths = [file["length"] for file in files.values() if "length" in file]
    hashes = [file["hashes"] for file in files.values() if "hashes" in file]
    if any(type(length) is not int for length in lengths) or any(type(one) is not dict for one in hashes):
        return False
    values: dict[str, list[Any]] = {}
    for one in hashes:
        for algorithm, value in one.items():
            values.setdefault(algorithm, []).append(value)
    return (
        min(lengths, default=0) >= 0
        and max(lengths, default=0) <= MAX_VERSION
        and all(_plain_hashes(algorithm, found) for algorithm, found in values.items())
    )


def _plain_hashes(algorithm: str, values: list[Any]) -> bool:
    return (
        {*map(type, values)} == {str}
        and {*map(len, values)} == {_HASH_CHARACTERS.get(algorithm)}
        and _HEXADECIMAL.fullmatch("".join(values)) is not None
    )


def _require_length(name: str, length: object) -> None:
    if type(length) is not int or not 0 <= length <= MAX_VERSION:
        _refuse(f"the length of {_shown(name)} is not a number of bytes")


def _require_hashes(name: str, hashes: object) -> None:
    if not isinstance(hashes, dict):
        _refuse(f"the hashes of {_shown(name)} are not an object")
    for algorithm, value in hashes.items():
        characters = _HASH_CHARACTERS.get(algorithm)
        if not isinstance(value, str) or not _HASH.fullmatch(value) or len(value) != (characters or len(value)):
            _refuse(f"the {brief(algorithm)} of {_shown(name)} is not such a hash in lower-case hexadecimal")


def _refuse(why: str, cause: BaseException | None = None) -> NoReturn:
    raise InvalidRequestError(f"This is not valid TUF metadata: {why}.", reason=Reason.NOT_TUF_METADATA) from cause


def _shown(value: object) -> str:
    return "missing" if value is None else brief(repr(value) if isinstance(value, str) else type(value).__name__)
