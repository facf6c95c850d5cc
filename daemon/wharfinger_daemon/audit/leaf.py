"""What a leaf of the audit log says, and its bytes: canonical JSON, so that any program can read and hash it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from wharfinger_daemon import canonical
from wharfinger_daemon.audit.merkle import leaf_hash


class Act(StrEnum):
    """The kinds of leaves. A name is never reused with another meaning."""

    LOG_BEGUN = "log-begun"
    SIGNATURE = "signature"
    KEY_GENERATED = "key-generated"
    KEY_PUBLISHED = "key-published"
    KEY_ACTIVATED = "key-activated"
    KEY_RETIRED = "key-retired"
    KEY_DESTROYED = "key-destroyed"
    METADATA_IMPORTED = "metadata-imported"
    SIGNING_SUSPENDED = "signing-suspended"
    SIGNING_RESUMED = "signing-resumed"
    LEDGER_REBUILT = "ledger-rebuilt"
    EPOCH_OPENED = "epoch-opened"
    REVIEWER_SIGNED_IN = "reviewer-signed-in"
    REVIEWER_SIGNED_OUT = "reviewer-signed-out"
    VERDICT_REVIEWED = "verdict-reviewed"
    VERDICT_REVIEW_UNDONE = "verdict-review-undone"


@dataclass(frozen=True)
class LeafReference:
    """Where a leaf is in the log, and its hash: what a ``Sign`` reply carries."""

    index: int
    hash: bytes


@dataclass(frozen=True)
class Leaf:
    """Something that was done, or, for a signature, is about to be done.

    Attributes:
        at: when; written with microseconds.
        caller: who asked: a caller's name, ``publisher``, or ``local`` for a command on this host.
        details: what else there is to say, by kind; values are text or numbers.
    """

    act: Act
    at: datetime
    caller: str
    details: Mapping[str, str | int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Its bytes in the log."""
        at = self.at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        said = {"act": self.act.value, "at": at, "caller": self.caller, **self.details}
        # Of text and numbers: canonical already, unless something had to be escaped.
        fast = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
        return canonical.encode(said) if b"\\" in fast else fast

    def refer(self, index: int) -> LeafReference:
        """Its reference, once it has an index."""
        return LeafReference(index, leaf_hash(self.encode()))


def read_leaf(encoded: bytes) -> Leaf:
    """A leaf from its bytes.

    Raises:
        ValueError: they are not what ``encode`` writes.
    """
    try:
        said = parse(encoded)
        at = datetime.strptime(said.pop("at"), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        leaf = Leaf(Act(said.pop("act")), at, said.pop("caller"), said)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"This is no leaf of the log: {error}") from error
    if leaf.encode() != encoded:
        raise ValueError("This leaf is not in canonical form.")
    return leaf


def parse(encoded: bytes) -> Any:
    """The JSON value that bytes say, canonical or not.

    Raises:
        ValueError: they are no JSON.
    """
    try:
        return orjson.loads(encoded)
    except orjson.JSONDecodeError:
        pass
    try:
        # Canonical JSON escapes no control characters, which JSON's own rules demand: a reason may have several lines.
        return json.loads(encoded, strict=False)
    except RecursionError as error:
        raise ValueError("It is nested too deeply.") from error
