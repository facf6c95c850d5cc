"""What the next version changes, in words: what a signer reads before signing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from tuf.api.metadata import Root, Targets

from wharfinger_daemon.ceremony.chain import Chain
from wharfinger_daemon.ceremony.keys import fingerprint, public_value
from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.rules import ListedRole, listed_roles
from wharfinger_daemon.ceremony.shape import bins_in_words


def called(keyid: str, names: Mapping[str, str]) -> str:
    """A key as people know it."""
    return f"{names[keyid]} ({keyid[:8]})" if keyid in names else f"unnamed key {keyid}"


def describe(kind: Kind, signed: Root | Targets, chain: Chain, names: Mapping[str, str]) -> list[str]:
    """Compares the next version with the one before, or tells all of it if it is the first.

    Args:
        names: of keys, by keyid.
    """
    former = chain.previous(kind)
    if former is None:
        return [f"This is the first version. It expires at {moment(signed.expires)}.", *_all(signed, names)]
    before = former.signed
    lines = [
        f"The version before is {former.name}, SHA-256 {former.sha256}.",
        f"Expires at {moment(signed.expires)}; before, {moment(before.expires)}.",
    ]
    roles = {role.name: role for role in listed_roles(before)}
    for role in listed_roles(signed):
        lines += _changed(role, roles.pop(role.name, None), names)
    lines += [f"The role '{name}' is no longer there." for name in roles]
    return lines + list(_other_changes(before, signed))


def moment(instant: datetime) -> str:
    """An instant in UTC, to the second."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _all(signed: Root | Targets, names: Mapping[str, str]) -> Iterator[str]:
    for role in listed_roles(signed):
        yield from _changed(role, None, names)
    if isinstance(signed, Root):
        yield f"consistent_snapshot is {_word(signed.consistent_snapshot)}."
    elif bins := bins_in_words(signed):
        yield f"Targets are spread over {bins}."


def _changed(role: ListedRole, before: ListedRole | None, names: Mapping[str, str]) -> Iterator[str]:
    where = "online" if role.online else "offline"
    now = f"{role.threshold} of {len(role.keys)} keys"
    if before is None:
        yield f"{role.name} ({where}): {now}."
        yield from (f"  has   {called(key.keyid, names)}, SHA-256 {fingerprint(key)}" for key in role.keys)
        return
    former = f"{before.threshold} of {len(before.keys)} keys"
    yield f"{role.name} ({where}): {now}, as before." if now == former else f"{role.name} ({where}): {former} -> {now}."
    # Compared by value, too: what is shown as kept must be the same key, and not only be called the same.
    old, new = ({(key.keyid, public_value(key)): key for key in one.keys} for one in (before, role))
    yield from (f"  keeps {called(key.keyid, names)}" for which, key in new.items() if which in old)
    added = (key for which, key in new.items() if which not in old)
    yield from (f"  ADDS  {called(key.keyid, names)}, SHA-256 {fingerprint(key)}" for key in added)
    yield from (f"  DROPS {called(key.keyid, names)}" for which, key in old.items() if which not in new)


def _other_changes(before: Root | Targets, signed: Root | Targets) -> Iterator[str]:
    if isinstance(before, Root) and isinstance(signed, Root):
        former, now = _word(before.consistent_snapshot), _word(signed.consistent_snapshot)
        if former != now:
            yield f"consistent_snapshot: {former} -> {now}."
    elif _paths(before) != _paths(signed):
        yield "Other paths are delegated than before."
    if bins_in_words(before) != bins_in_words(signed):
        yield f"{bins_in_words(before)} -> {bins_in_words(signed)}."


def _paths(signed: Root | Targets) -> list[object]:
    """What delegations by path say besides keys and thresholds."""
    delegations = None if isinstance(signed, Root) else signed.delegations
    roles = {} if delegations is None else delegations.roles or {}
    return [(role.name, role.terminating, role.paths, role.path_hash_prefixes) for role in roles.values()]


def _word(value: bool | None) -> str:
    return "absent" if value is None else str(value).lower()
