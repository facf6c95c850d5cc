"""When roles are renewed: late ones at once, bins evenly."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import Lifetimes
from wharfinger_daemon.metadata.renewal import due_roles, late_roles

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIFETIMES = Lifetimes(8 * HOUR, 4 * HOUR, 2 * HOUR)
BINS = HashBins(1)


@pytest.mark.parametrize(
    ("role", "hours_left", "late"),
    [
        ("bins-0", 4.1, False),
        ("bins-0", 3.9, True),
        ("snapshot", 2.1, False),
        ("snapshot", 1.9, True),
        ("timestamp", 1.1, False),
        ("timestamp", 0.9, True),
        ("timestamp", -100, True),
        ("targets", 0.1, False),
        ("bins", 0.1, False),
    ],
)
def test_an_online_role_is_late_when_less_than_half_of_its_life_is_left(
    role: str, hours_left: float, late: bool
) -> None:
    state = RoleState(role, 1, NOW + timedelta(hours=hours_left))
    assert ([role] if late else []) == late_roles([state], LIFETIMES, BINS, NOW)
    assert not late or [role] == due_roles([state], LIFETIMES, BINS, NOW)


def test_timestamp_and_snapshot_come_first_and_then_the_bins_that_expire_soonest() -> None:
    """However many bins are late: without timestamp and snapshot, clients accept none of them."""
    named = {"bins-0": 1.0, "snapshot": 1.5, "bins-1": 0.5, "timestamp": 0.9}
    late = [RoleState(role, 1, NOW + left * HOUR) for role, left in named.items()]
    expected = ["timestamp", "snapshot", "bins-1", "bins-0"]
    assert (expected, expected) == (
        late_roles(late, LIFETIMES, BINS, NOW),
        due_roles(late, LIFETIMES, BINS, NOW),
    )


def made_at(instant: datetime, bins: HashBins, lifetimes: Lifetimes) -> dict[str, RoleState]:
    """Everything as one publication makes it."""
    roles = [*bins.roles(), "snapshot", "timestamp"]
    return {role: RoleState(role, 1, (instant + lifetimes.of(role)).replace(microsecond=0)) for role in roles}


def renewed(states: dict[str, RoleState], roles: list[str], now: datetime, lifetimes: Lifetimes) -> None:
    fresh = made_at(now, HashBins(1), lifetimes)["timestamp"].expires - lifetimes.timestamp
    for role in [*roles, "snapshot", "timestamp"]:
        states[role] = RoleState(role, states[role].version + 1, fresh + lifetimes.of(role))


def test_right_after_all_bins_were_made_none_is_due_and_after_a_while_the_share_of_that_while() -> None:
    bins, lifetimes = HashBins(14), Lifetimes()
    states = made_at(NOW, bins, lifetimes)
    assert [] == due_roles(states.values(), lifetimes, bins, NOW)
    share = len(due_roles(states.values(), lifetimes, bins, NOW + HOUR))
    assert 16384 // 12 - 2 <= share <= 16384 // 12 + 2


def test_few_bins_are_renewed_when_the_turn_of_each_has_passed() -> None:
    """Not as soon as the daemon starts: of four bins with a day's life, one each three hours."""
    bins, lifetimes = HashBins(2), Lifetimes()
    states = made_at(NOW, bins, lifetimes)
    due = [len(due_roles(states.values(), lifetimes, bins, NOW + hours * HOUR)) for hours in (0.1, 2.9, 3.1, 6.1, 9.1)]
    assert [0, 0, 1, 2, 3] == due


def test_bins_that_changed_meanwhile_are_not_renewed_as_well() -> None:
    bins, lifetimes = HashBins(8), Lifetimes()
    states = made_at(NOW, bins, lifetimes)
    later = NOW + 2 * HOUR
    for role in list(bins.roles())[:128]:
        states[role] = RoleState(role, 2, later + DAY)
    assert [] == [role for role in due_roles(states.values(), lifetimes, bins, later) if role.startswith("bins-")]


@given(
    st.lists(st.integers(-100_000, 200_000), min_size=8, max_size=8),
    st.integers(2, 172_800),
)
def test_renewing_what_is_due_leaves_nothing_due_at_that_instant(left: list[int], life_seconds: int) -> None:
    bins = HashBins(3)
    lifetimes = Lifetimes(*[timedelta(seconds=life_seconds)] * 3)
    states = {
        role: RoleState(role, 1, NOW + timedelta(seconds=seconds))
        for role, seconds in zip(bins.roles(), left, strict=True)
    }
    due = due_roles(states.values(), lifetimes, bins, NOW)
    assert set(late_roles(states.values(), lifetimes, bins, NOW)) <= set(due)
    states |= made_at(NOW, bins, lifetimes) | {role: states[role] for role in states.keys() - set(due)}
    remaining = due_roles(states.values(), lifetimes, bins, NOW)
    # Of a lifetime of two seconds, half may be gone by the rounding of expiries.
    assert [] == remaining or life_seconds < 4


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from([10, 20, 30]), min_size=6, max_size=6),
    st.integers(0, 3),
    st.sets(st.integers(0, 30 * 24 - 1), max_size=40),
)
def test_in_a_month_nothing_is_ever_late_and_no_hour_renews_much_more_than_its_share(
    minutes_between_checks: list[int], lives: int, hours_with_changes: set[int]
) -> None:
    """All bins are made at once, and from then on every hour has its share, whatever changes meanwhile."""
    bins = HashBins(6)
    lifetimes = [Lifetimes(), Lifetimes(DAY, 6 * HOUR, 3 * HOUR), Lifetimes(DAY, 2 * DAY, DAY), Lifetimes(2 * DAY)][
        lives
    ]
    states = made_at(NOW, bins, lifetimes)
    signed: Counter[int] = Counter()
    now, check = NOW, 0
    while now < NOW + timedelta(days=30):
        now += timedelta(minutes=minutes_between_checks[check % len(minutes_between_checks)])
        check += 1
        hour = (now - NOW) // HOUR
        if hour in hours_with_changes:
            hours_with_changes.discard(hour)
            renewed(states, [f"bins-{hour % 64:02x}"], now, lifetimes)
        for state in states.values():
            # Never more than a check later than half of its life.
            assert state.expires - now > lifetimes.of(state.role) / 2 - 31 * timedelta(minutes=1)
        due = due_roles(states.values(), lifetimes, bins, now)
        if due:
            signed[hour] += sum(role.startswith("bins-") for role in due)
            renewed(states, [role for role in due if role.startswith("bins-")], now, lifetimes)
    share = bins.number / (lifetimes.bins / 2 / HOUR)
    # A check at the very end of an hour may take half an hour's share of the one before with it.
    assert max(signed.values()) <= 1.5 * share + 2


def test_a_clock_that_went_back_renews_nothing_and_one_that_came_back_goes_on() -> None:
    bins, lifetimes = HashBins(4), Lifetimes()
    states = made_at(NOW, bins, lifetimes)
    assert [] == due_roles(states.values(), lifetimes, bins, NOW - 300 * DAY)
    assert [] == due_roles(states.values(), lifetimes, bins, NOW)


def test_a_clock_that_jumps_ahead_makes_everything_late_once() -> None:
    bins, lifetimes = HashBins(4), Lifetimes()
    states = made_at(NOW, bins, lifetimes)
    ahead = NOW + 300 * DAY
    assert set(states) == set(due_roles(states.values(), lifetimes, bins, ahead))
    assert [] == due_roles(made_at(ahead, bins, lifetimes).values(), lifetimes, bins, ahead)
