"""What a person should think about before signing, though it is not forbidden."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from tuf.api.metadata import Metadata, Root, Targets

from wharfinger_daemon.ceremony.chain import AnyFile, Chain, is_signed
from wharfinger_daemon.ceremony.keys import public_value
from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.rules import listed_roles
from wharfinger_daemon.ceremony.shape import bins_in_words

_SHORT = timedelta(days=30)
_LONG = timedelta(days=2 * 366)


def warnings(kind: Kind, signed: Root | Targets, chain: Chain, now: datetime) -> list[str]:
    """Each in a sentence or two, for metadata that is sound."""
    return [
        *_on_thresholds(signed),
        *_on_shared_keys(signed),
        *_on_expiry(signed, now),
        *_on_former(kind, chain, now),
        *_on_successors(kind, signed, chain),
    ]


def _on_thresholds(signed: Root | Targets) -> Iterator[str]:
    for role in listed_roles(signed):
        if not role.online and role.threshold == 1:
            yield f"One key alone can sign '{role.name}'. Whoever gets hold of it needs nobody else."
        if role.name == Root.type and role.threshold == len(role.keys):
            yield "Every key of root is needed. If one is lost, root can never be changed again."


def _on_shared_keys(signed: Root | Targets) -> Iterator[str]:
    seen: dict[bytes, str] = {}
    for role in listed_roles(signed):
        for key in () if role.online else role.keys:
            other = seen.setdefault(public_value(key), role.name)
            if other != role.name:
                yield f"The key {key.keyid} signs both '{other}' and '{role.name}': whoever gets it has both."


def _on_expiry(signed: Root | Targets, now: datetime) -> Iterator[str]:
    left = signed.expires - now
    if left < _SHORT:
        yield f"It expires in {left.days} days: the next ceremony must be held before."
    if left > _LONG:
        yield f"It expires in {left.days} days. PEP 458 has root and targets signed every year."
    if isinstance(signed, Root) and signed.consistent_snapshot is not True:
        yield "consistent_snapshot is not true: clients meet half-published states, and the daemon publishes none such."


def _on_former(kind: Kind, chain: Chain, now: datetime) -> Iterator[str]:
    former = chain.previous(kind)
    if former is not None and former.signed.expires <= now:
        yield (
            f"{former.name} expired at {former.signed.expires.isoformat()}: clients refuse the repository until this "
            "version is published."
        )


def _on_successors(kind: Kind, signed: Root | Targets, chain: Chain) -> Iterator[str]:
    """What the new version does to those that it delegates to."""
    delegates_to = {Kind.ROOT: Kind.TARGETS, Kind.TARGETS: Kind.BINS}.get(kind)
    newest = None if delegates_to is None else chain.previous(delegates_to)
    if delegates_to is not None and newest is not None and not _still_authorised(newest, delegates_to, signed):
        yield (
            f"{newest.name} is not signed by enough of the keys that this version lists for {delegates_to}. Clients "
            f"refuse it from then on: hold a ceremony for {delegates_to} next, and import both together."
        )
    former = chain.previous(Kind.BINS) if kind is Kind.BINS else None
    if former is not None and bins_in_words(former.signed) != bins_in_words(signed):
        yield (
            "There are other bins than before. Clients refuse a snapshot that lost a role: the daemon imports more "
            "bins if their names keep their length, and publishes all anew; it will not import other changes."
        )


def _still_authorised(newest: AnyFile, kind: Kind, by: Root | Targets) -> bool:
    return is_signed(Metadata.from_bytes(newest.content), kind, by)
