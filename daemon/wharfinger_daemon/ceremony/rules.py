"""What must be true of the next version before anybody signs it, and again before it is published.

Each rule is about the metadata itself, not about the plan: a signer who is handed a folder checks the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from securesystemslib.signer import Key
from tuf.api.metadata import Role, Root, Snapshot, Targets, Timestamp

from wharfinger_daemon.bin_delegation import even_bin_delegation
from wharfinger_daemon.ceremony.chain import AnyFile, Chain
from wharfinger_daemon.ceremony.keys import SCHEMES, public_value
from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.quorum import Quorum
from wharfinger_daemon.ceremony.refusals import invalid, refused
from wharfinger_daemon.ceremony.shape import require_shape

LONGEST = timedelta(days=3660)
"""Ten years: beyond that, an expiry is a slip of the pen."""

ONLINE = (Snapshot.type, Timestamp.type)


@dataclass(frozen=True)
class ListedRole:
    """A role that metadata lists keys for.

    Attributes:
        online: its keys are in a daemon's token, and not with people.
    """

    name: str
    keys: Sequence[Key]
    threshold: int
    online: bool


def listed_roles(signed: Root | Targets) -> list[ListedRole]:
    """The roles that metadata lists keys for: those of root, or those that targets or ``bins`` delegates to."""
    if isinstance(signed, Root):
        order = (Root.type, Targets.type, Snapshot.type, Timestamp.type)
        return [_listed(name, signed.roles[name], signed.keys, name in ONLINE) for name in order]
    delegations = signed.delegations
    if delegations is None:
        return []
    bins = even_bin_delegation(delegations)
    if bins is not None:
        return [_listed(f"{bins.prefix}-*", bins.role, delegations.keys, True)]
    return [_listed(name, role, delegations.keys, False) for name, role in (delegations.roles or {}).items()]


def require_sound(kind: Kind, signed: Root | Targets, chain: Chain) -> None:
    """Refuses metadata that could not work, or would be unsafe, whenever it is looked at.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; a threshold cannot be reached, a key counts twice or is of a kind that
            not every client verifies, an online key is an offline one too, an online role wants several signatures.
    """
    require_shape(kind, signed, f"{signed.version}.{kind}.json")
    roles = listed_roles(signed)
    for role in roles:
        _require_reachable(role)
    _require_distinct(key for role in roles for key in role.keys)
    _require_separate(roles, _others(kind, chain))


def require_signable(
    kind: Kind, signed: Root | Targets, chain: Chain, required: Iterable[Quorum], now: datetime
) -> None:
    """Refuses metadata that must not be signed or published now.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; nobody could sign it.
        RefusedError: CEREMONY_REFUSED; it, or what authorises its signers, has expired, or it lasts absurdly long.
    """
    clock = f"(This machine's clock says {now:%Y-%m-%d %H:%M} UTC.)"
    name = f"{signed.version}.{kind}.json"
    if signed.expires <= now:
        raise refused(f"{name} would have expired at {signed.expires.isoformat()}. Stage it anew. {clock}")
    if signed.expires > now + LONGEST:
        raise refused(f"{name} would expire at {signed.expires.isoformat()}, in more than ten years. {clock}")
    for quorum in required:
        if len(quorum.keys) < quorum.threshold:
            raise invalid(f"{quorum.by} wants {quorum.threshold} signatures and lists {len(quorum.keys)} keys for it.")
    for file in _authorising(kind, chain):
        if file.signed.expires <= now:
            raise refused(
                f"{file.name} says who signs {kind}, and expired at {file.signed.expires.isoformat()}. Renew it in a "
                f"ceremony of its own, before this one. {clock}"
            )


def _authorising(kind: Kind, chain: Chain) -> Iterator[AnyFile]:
    """What says who signs, besides the metadata itself. The former root need not be valid any more."""
    if kind is not Kind.ROOT:
        yield chain.roots[-1]
    if kind is Kind.BINS:
        yield chain.targets[-1]


def _listed(name: str, role: Role, known: Mapping[str, Key], online: bool) -> ListedRole:
    return ListedRole(name, [known[keyid] for keyid in role.keyids if keyid in known], role.threshold, online)


def _require_reachable(role: ListedRole) -> None:
    if role.threshold > len(role.keys):
        raise invalid(
            f"The role '{role.name}' wants {role.threshold} signatures and has {len(role.keys)} keys. Nobody could "
            "ever sign it."
        )
    if role.online and role.threshold != 1:
        raise invalid(f"The role '{role.name}' is signed online, with one signature: its threshold must be 1.")
    for key in role.keys:
        if key.scheme not in SCHEMES:
            raise invalid(f"The key {key.keyid} has the scheme {key.scheme!a}, which not every client verifies.")


def _require_distinct(keys: Iterable[Key]) -> None:
    # One key under two keyids would count twice towards a threshold (TUF specification, 4.2.1 and 5.3.4).
    seen: dict[bytes, str] = {}
    for key in keys:
        if seen.setdefault(public_value(key), key.keyid) != key.keyid:
            raise invalid(f"One key stands there under two keyids, {seen[public_value(key)]} and {key.keyid}.")


def _require_separate(roles: Sequence[ListedRole], others: Iterable[ListedRole]) -> None:
    """An online key signs by itself whatever the daemon is asked for: where it counted as offline, nothing would be."""
    everywhere = [*roles, *others]
    for role in roles:
        opposite = {public_value(key): one.name for one in everywhere if one.online != role.online for key in one.keys}
        for key in role.keys:
            if public_value(key) in opposite:
                names = sorted([role.name, opposite[public_value(key)]])
                raise invalid(
                    f"The key {key.keyid} is to sign both '{names[0]}' and '{names[1]}', of which one is signed "
                    "offline and the other online. Take another key for one of them."
                )


def _others(kind: Kind, chain: Chain) -> Iterator[ListedRole]:
    """The roles that the newest metadata of the other kinds lists."""
    for other in Kind:
        newest = chain.previous(other)
        if other is not kind and newest is not None:
            yield from listed_roles(newest.signed)
