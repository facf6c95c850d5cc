"""Whether clients read what is to be signed as it was read here: they read it with python-tuf, or with its likes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuf.api.metadata import SPECIFICATION_VERSION, Root, Snapshot, Targets, Timestamp

from wharfinger_daemon import canonical

_MAJOR_VERSION = f"{SPECIFICATION_VERSION[0]}."
_CLASSES: dict[str, type[Root | Targets | Snapshot | Timestamp]] = {
    "root": Root,
    "targets": Targets,
    "snapshot": Snapshot,
    "timestamp": Timestamp,
}


class NotReadAlikeError(ValueError):
    """Clients would read something else, or nothing. The message says what is wrong."""


def require_same_reading(kind: str, value: dict[str, Any], signed: bytes) -> None:
    """Demands what python-tuf demands: what it cannot read, clients cannot. And what it would write otherwise, clients
    verify as other bytes than were signed; what it loses are attributes that are null.

    Args:
        kind: the ``_type``.
        value: the content of the bytes, of which everything in ``facts`` but this was checked. It is destroyed.

    Raises:
        NotReadAlikeError: a client would not read this.
    """
    if certainly_read_alike(kind, value, signed):
        return
    try:
        metadata = _CLASSES[kind].from_dict(value)
        # To write it anew costs more than all the rest: roots and delegations are few, and elsewhere null is rare.
        whole = kind == "root" or b"null" in signed or b'"delegations"' in signed
        written = canonical.encode(metadata.to_dict()) if whole else signed
    except Exception as error:  # on garbage, python-tuf raises whatever its code runs into
        raise NotReadAlikeError(
            f"it does not have the structure of {kind} metadata ({type(error).__name__}: {brief(error)})"
        ) from error
    if written != signed:
        raise NotReadAlikeError(f"a client that reads this {kind} metadata would verify other bytes than these")


def certainly_read_alike(kind: str, value: Mapping[str, Any], signed: bytes) -> bool:
    """Whether python-tuf need not be asked: to have it read a bin costs more than all other checks of it together.

    Beyond what was checked already it demands its own major specification version, of each target a length and hashes,
    and that hashes are not empty where they are given. It neither loses nor adds anything where nothing is null.
    """
    if kind == "root" or "delegations" in value or b"null" in signed:
        return False
    if not value["spec_version"].startswith(_MAJOR_VERSION):
        return False
    if kind == "targets":
        return all("length" in file and file.get("hashes") for file in value["targets"].values())
    return all(file.get("hashes", True) for file in value["meta"].values())


def brief(what: object) -> str:
    """An error's text, for a message: what a caller sent may be megabytes long, and unfit for a terminal."""
    return ascii(str(what))[1:-1][:120]
