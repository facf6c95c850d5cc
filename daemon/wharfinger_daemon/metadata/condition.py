"""What condition published metadata is in: what is valid how long, what is due, what is long overdue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.expiries import ROOT
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP, Lifetimes

# People sign offline roles, and need weeks for it.
OFFLINE_DUE = timedelta(days=30)
OFFLINE_OVERDUE = timedelta(days=7)

_FIRST = (ROOT, "targets", "bins", SNAPSHOT, TIMESTAMP)


class Urgency(StrEnum):
    """How urgently a role is to be signed anew. An online role is due when less than half of its lifetime is left, and
    overdue when less than a quarter is: then renewing has failed for a quarter of a lifetime. Offline roles are due 30
    days before they expire, and overdue 7 days before."""

    VALID = "valid"
    DUE = "due"
    OVERDUE = "overdue"
    EXPIRED = "expired"


WRONG = frozenset({Urgency.OVERDUE, Urgency.EXPIRED})


@dataclass(frozen=True)
class RoleCondition:
    """One role: its newest version, when that expires, and what that means."""

    state: RoleState
    urgency: Urgency


@dataclass(frozen=True)
class BinsCondition:
    """All hash bins together: the one that expires first, and how many there are of each urgency."""

    first: RoleCondition
    urgencies: Mapping[Urgency, int]

    @property
    def number(self) -> int:
        """How many bins there are."""
        return sum(self.urgencies.values())


@dataclass(frozen=True)
class Condition:
    """Of a whole repository.

    Attributes:
        roles: all roles but the hash bins: root and targets first, timestamp last.
        bins: None before the first publication.
    """

    roles: Collection[RoleCondition]
    bins: BinsCondition | None

    @property
    def wrong(self) -> bool:
        """Whether a role is expired or overdue."""
        bins = set() if self.bins is None else set(self.bins.urgencies)
        return not WRONG.isdisjoint(bins.union(role.urgency for role in self.roles))


def condition_at(now: datetime, states: Iterable[RoleState], lifetimes: Lifetimes, bins: HashBins) -> Condition:
    """Judges every role.

    Args:
        states: the newest state of every role that there is, root included.
    """
    prefix = f"{bins.prefix}-"
    judged = [
        RoleCondition(state, _urgency(state, lifetimes, now, online=_is_online(state.role, prefix)))
        for state in sorted(states, key=lambda state: (state.expires, state.role))
    ]
    hashed = [one for one in judged if one.state.role.startswith(prefix)]
    others = {one.state.role: one for one in judged if not one.state.role.startswith(prefix)}
    return Condition(
        tuple(others[role] for role in _FIRST if role in others),
        BinsCondition(hashed[0], Counter(one.urgency for one in hashed)) if hashed else None,
    )


def _is_online(role: str, prefix: str) -> bool:
    return role in (SNAPSHOT, TIMESTAMP) or role.startswith(prefix)


def _urgency(state: RoleState, lifetimes: Lifetimes, now: datetime, *, online: bool) -> Urgency:
    life = lifetimes.of(state.role)
    due, overdue = (life / 2, life / 4) if online else (OFFLINE_DUE, OFFLINE_OVERDUE)
    left = state.expires - now
    # TUF specification 1.0.34, section 5.3.10: metadata is valid as long as its expiry is later than now.
    if left <= timedelta():
        return Urgency.EXPIRED
    if left < overdue:
        return Urgency.OVERDUE
    return Urgency.DUE if left < due else Urgency.VALID
