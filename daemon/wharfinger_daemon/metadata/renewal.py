"""When roles are signed anew although nothing of theirs changed.

Rules of the whole module:
  (1) Late is an online role that has less than half of its lifetime left. Late roles are renewed at once, at a start
      before anything else; so nothing expires while the publisher works, or within half a lifetime after it failed.
  (2) Bins are renewed before they are late, evenly: never more than all of them in half a lifetime, as long as that
      keeps rule (1). Of 16,384 bins with a day's lifetime that is one in 2.6 seconds, also after they were all made at
      once.
  (3) A change renews the bins that it touches, and these are renewed so much less often.
  (4) What is due depends on the published expiries and the time of day alone. There is nothing to remember, so neither
      a restart nor a clock that jumps makes anything be forgotten. A clock that went back renews nothing; what is
      published holds longer then.

Rule (2) in one formula: were bin number i, counted from the one that is late first, to wait until it is late, while all
that come before it are renewed at the even rate, then ``i - rate * (time until bin i is late)`` bins would not be done
in time. The greatest of these numbers is how many must be renewed now.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP, Lifetimes

_NOW = timedelta()
# Expiries are whole seconds, so a bin may seem up to a second older than it is.
_ROUNDING = timedelta(seconds=1)


def late_roles(states: Iterable[RoleState], lifetimes: Lifetimes, bins: HashBins, now: datetime) -> list[str]:
    """The online roles that have less than half of their lifetime left: timestamp and snapshot, then the bins that
    expire soonest.

    Args:
        states: the newest state of every role.
    """
    found = list(states)
    soonest = _soonest_first(found, bins)
    late = [state.role for state in soonest if _until_late(state, lifetimes, now) < _NOW]
    return [*_late_tops(found, lifetimes, now), *late]


def due_roles(states: Iterable[RoleState], lifetimes: Lifetimes, bins: HashBins, now: datetime) -> list[str]:
    """The online roles to renew now: late ones, and as many bins as keep the renewals even; in the same order.

    Renewing what is due leaves nothing due at the same instant.

    Args:
        states: the newest state of every role.
    """
    found = list(states)
    soonest = _soonest_first(found, bins)
    half = lifetimes.bins / 2
    due = 0
    for position, state in enumerate(soonest, start=1):
        remaining = _until_late(state, lifetimes, now)
        # Rounded up: the next one is due when its turn has passed, and not as soon as it has begun.
        in_time = 0 if remaining < _NOW else -(-len(soonest) * (remaining + _ROUNDING) // half)
        due = max(due, position - in_time)
    return [*_late_tops(found, lifetimes, now), *(state.role for state in soonest[:due])]


def _late_tops(states: Iterable[RoleState], lifetimes: Lifetimes, now: datetime) -> list[str]:
    # Only bins are spread: every publication renews timestamp and snapshot on its way.
    late = {state.role for state in states if _until_late(state, lifetimes, now) < _NOW}
    return [role for role in (TIMESTAMP, SNAPSHOT) if role in late]


def _soonest_first(states: Iterable[RoleState], bins: HashBins) -> list[RoleState]:
    prefix = f"{bins.prefix}-"
    return sorted(
        (state for state in states if state.role.startswith(prefix)), key=lambda state: (state.expires, state.role)
    )


def _until_late(state: RoleState, lifetimes: Lifetimes, now: datetime) -> timedelta:
    return state.expires - now - lifetimes.of(state.role) / 2
