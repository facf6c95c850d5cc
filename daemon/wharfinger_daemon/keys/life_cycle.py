"""The life of a key: its states, the moves between them, and what each move demands of the verified metadata.

    generated ──publish──► published ──activate──► active ──another is activated──► retiring ──destroy──► destroyed
        │                      │                      │    ◄─────activate─────────      ▲
        └───────────────────retire────────────────────┴─────────────────────────────────┘

    publish    the verified metadata lists the key for every role of its line, and the token holds it
    activate   the same; the key that was active is retiring from then on
    retire     it never was active, or the verified metadata no longer lists it for every role of its line: a revoked
               key can be retired though it has no successor yet, and then nothing is signed for the line
    destroy    not active; no verified metadata lists it; nothing published has its signature from it

A move that was made already changes nothing when it is asked for again. A destruction is begun before the token is
asked, and from then on the key can only be destroyed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from wharfinger_daemon.errors import NotFoundError, Reason, RefusedError
from wharfinger_daemon.signing.standing import KeyState


@dataclass(frozen=True)
class LineKey:
    """A key of a line.

    Attributes:
        label: in the token.
        public_key: DER SubjectPublicKeyInfo.
        generated_at: when it was first seen in the token.
        destroyed_at: when its destruction was begun.
    """

    keyid: str
    line: str
    state: KeyState
    label: str
    public_key: bytes
    keytype: str
    scheme: str
    generated_at: datetime
    published_at: datetime | None = None
    activated_at: datetime | None = None
    retired_at: datetime | None = None
    destroyed_at: datetime | None = None

    @property
    def pem(self) -> str:
        """The public key, PEM SubjectPublicKeyInfo."""
        return pem_of(self.public_key)

    @property
    def signs_as(self) -> KeyState:
        """The state that counts for signing. A retiring key signs when it is named, but not one that never was active
        when it was retired: it counts as one that is still to be activated. What is about to be destroyed is gone."""
        if self.destroyed_at is not None:
            return KeyState.DESTROYED
        return KeyState.PUBLISHED if self.state is KeyState.RETIRING and self.activated_at is None else self.state


Keys = Mapping[str, LineKey]
"""All keys of a repository, by keyid."""


@dataclass(frozen=True)
class Evidence:
    """What the verified metadata and the token say of a key at one moment.

    Attributes:
        missing: the roles of its line for which it is not listed.
        listed: the roles, of whatever line, for which it is listed.
        held: whether the token holds it.
        configured: whether there still is a line of its line's name.
    """

    missing: tuple[str, ...]
    listed: tuple[str, ...]
    held: bool
    configured: bool = True


def pem_of(public_key: bytes) -> str:
    """A public key, DER SubjectPublicKeyInfo, as PEM."""
    pem = load_der_public_key(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode("ascii")


def find(keys: Keys, keyid: str) -> LineKey:
    """The key of a keyid.

    Raises:
        NotFoundError: KEY_NOT_FOUND.
    """
    key = keys.get(keyid)
    if key is None:
        raise unknown_key()
    return key


def unknown_key() -> NotFoundError:
    """The error for a keyid that no key of a line has."""
    return NotFoundError(
        "No key of a line has this keyid. List the keys; one that was generated elsewhere is known once the verified "
        "metadata lists it.",
        reason=Reason.KEY_NOT_FOUND,
    )


def active_key(keys: Keys, line: str) -> LineKey | None:
    """The key that signs for a line."""
    return next((key for key in keys.values() if key.line == line and key.state is KeyState.ACTIVE), None)


def publish(key: LineKey, evidence: Evidence, at: datetime) -> LineKey:
    """The key once it is published.

    Raises:
        RefusedError: KEY_STATE_INVALID, KEY_LINE_UNKNOWN, KEY_NOT_PUBLISHED, or KEY_NOT_HELD.
    """
    if key.state in (KeyState.PUBLISHED, KeyState.ACTIVE):
        return key
    if key.state is not KeyState.GENERATED or key.destroyed_at is not None:
        raise _wrong_state(key, "published", "Only a generated key can. To sign with a retiring one, activate it.")
    _require_usable(key, evidence)
    return replace(key, state=KeyState.PUBLISHED, published_at=at)


def activate(key: LineKey, forerunners: Iterable[LineKey], evidence: Evidence, at: datetime) -> tuple[LineKey, ...]:
    """What changes when a key is to sign for its line: the key, and those that give way to it.

    Args:
        forerunners: the keys that signed what it will sign.

    Raises:
        RefusedError: KEY_STATE_INVALID, KEY_LINE_UNKNOWN, KEY_NOT_PUBLISHED, or KEY_NOT_HELD.
    """
    if key.state is KeyState.ACTIVE:
        return ()
    if key.state is KeyState.GENERATED:
        raise _wrong_state(key, "activated", "Publish it first.")
    if key.state is KeyState.DESTROYED or key.destroyed_at is not None:
        raise _wrong_state(key, "activated", "Its destruction was begun: generate another.")
    _require_usable(key, evidence)
    retired = (replace(former, state=KeyState.RETIRING, retired_at=at) for former in forerunners)
    return (replace(key, state=KeyState.ACTIVE, activated_at=at, retired_at=None), *retired)


def retire(key: LineKey, evidence: Evidence, at: datetime) -> LineKey:
    """The key once it is out of use.

    Raises:
        RefusedError: KEY_STILL_NEEDED, or KEY_STATE_INVALID.
    """
    if key.state is KeyState.RETIRING:
        return key
    if key.state is KeyState.DESTROYED:
        raise _wrong_state(key, "retired", "It is gone for good.")
    if key.state is KeyState.ACTIVE and not evidence.missing:
        raise RefusedError(
            f"Key {key.keyid} is the active one of line '{key.line}', and the verified metadata lists it for every "
            "role of the line. Activate its successor, which takes its place, or import metadata that does not list "
            "it.",
            reason=Reason.KEY_STILL_NEEDED,
            keyid=key.keyid,
        )
    return replace(key, state=KeyState.RETIRING, retired_at=at)


def begin_destruction(key: LineKey, evidence: Evidence, needed_by: int, at: datetime) -> LineKey:
    """The key once nothing but its destruction can follow.

    Args:
        needed_by: how many roles have their newest version signed by it.

    Raises:
        RefusedError: KEY_STATE_INVALID, or KEY_STILL_NEEDED.
    """
    if key.state is KeyState.ACTIVE:
        raise _wrong_state(key, "destroyed", "It signs. Activate its successor, or retire it once it is revoked.")
    if evidence.listed:
        raise RefusedError(
            f"The verified metadata lists key {key.keyid} for {', '.join(evidence.listed)}. Import metadata that does "
            "not list it, then destroy it.",
            reason=Reason.KEY_STILL_NEEDED,
            keyid=key.keyid,
        )
    if needed_by:
        raise RefusedError(
            f"The newest version of {needed_by} roles is signed by key {key.keyid}. Wait until they were signed anew.",
            reason=Reason.KEY_STILL_NEEDED,
            keyid=key.keyid,
        )
    return key if key.destroyed_at is not None else replace(key, destroyed_at=at)


def finish_destruction(key: LineKey) -> LineKey:
    """The key once the token holds it no more.

    Raises:
        RefusedError: KEY_STATE_INVALID; its destruction was not begun.
    """
    if key.destroyed_at is None:
        raise _wrong_state(key, "destroyed", "Begin its destruction first.")
    return replace(key, state=KeyState.DESTROYED)


def _require_usable(key: LineKey, evidence: Evidence) -> None:
    if not evidence.configured:
        raise RefusedError(
            f"Line '{key.line}' of key {key.keyid} is not configured any more. Put it back into [[keys]], or generate "
            "a key for the line that signs its roles now.",
            reason=Reason.KEY_LINE_UNKNOWN,
            keyid=key.keyid,
        )
    if evidence.missing:
        raise RefusedError(
            f"The verified metadata does not list key {key.keyid} for {', '.join(evidence.missing)}, which its line "
            f"'{key.line}' signs. Have new root and bins metadata signed that list it, and import them.",
            reason=Reason.KEY_NOT_PUBLISHED,
            keyid=key.keyid,
        )
    if not evidence.held:
        raise RefusedError(
            f"The token does not hold key {key.keyid} ('{key.label}'), so it cannot sign. Configure the token that "
            "does.",
            reason=Reason.KEY_NOT_HELD,
            keyid=key.keyid,
        )


def _wrong_state(key: LineKey, wanted: str, what_to_do: str) -> RefusedError:
    return RefusedError(
        f"Key {key.keyid} is {key.state}, and cannot be {wanted}. {what_to_do}",
        reason=Reason.KEY_STATE_INVALID,
        keyid=key.keyid,
        state=key.state.value,
    )
