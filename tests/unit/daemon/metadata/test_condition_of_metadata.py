"""How urgently published metadata is to be signed anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.condition import Condition, Urgency, condition_at
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import Lifetimes

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
LIFETIMES = Lifetimes(bins=8 * HOUR, snapshot=16 * HOUR, timestamp=24 * HOUR)


def condition(**left: timedelta) -> Condition:
    states = [RoleState(role.replace("_", "-"), 3, NOW + time) for role, time in left.items()]
    return condition_at(NOW, states, LIFETIMES, HashBins(1))


@pytest.mark.parametrize(
    ("role", "left", "urgency"),
    [
        ("timestamp", 12 * HOUR, Urgency.VALID),
        ("timestamp", 12 * HOUR - SECOND, Urgency.DUE),
        ("timestamp", 6 * HOUR, Urgency.DUE),
        ("timestamp", 6 * HOUR - SECOND, Urgency.OVERDUE),
        ("timestamp", SECOND, Urgency.OVERDUE),
        ("timestamp", timedelta(), Urgency.EXPIRED),
        ("snapshot", 8 * HOUR, Urgency.VALID),
        ("snapshot", 4 * HOUR - SECOND, Urgency.OVERDUE),
        ("root", 30 * DAY, Urgency.VALID),
        ("root", 30 * DAY - SECOND, Urgency.DUE),
        ("targets", 7 * DAY, Urgency.DUE),
        ("bins", 7 * DAY - SECOND, Urgency.OVERDUE),
        ("bins", -DAY, Urgency.EXPIRED),
    ],
)
def test_urgency_follows_from_what_is_left_of_the_lifetime(role: str, left: timedelta, urgency: Urgency) -> None:
    found = condition(**{role: left})
    assert [(role, urgency)] == [(one.state.role, one.urgency) for one in found.roles]
    assert (urgency in (Urgency.OVERDUE, Urgency.EXPIRED)) == found.wrong


def test_hash_bins_are_counted_and_the_first_to_expire_stands_for_them() -> None:
    found = condition(timestamp=20 * HOUR, bins_1=HOUR, bins_0=5 * HOUR, bins=300 * DAY)
    assert found.bins is not None
    assert ("bins-1", Urgency.OVERDUE) == (found.bins.first.state.role, found.bins.first.urgency)
    assert (2, {Urgency.OVERDUE: 1, Urgency.VALID: 1}) == (found.bins.number, dict(found.bins.urgencies))
    assert found.wrong
    assert ["bins", "timestamp"] == [one.state.role for one in found.roles]


def test_before_the_first_publication_there_are_offline_roles_alone() -> None:
    found = condition(root=300 * DAY, targets=300 * DAY, bins=300 * DAY)
    assert (None, False) == (found.bins, found.wrong)
