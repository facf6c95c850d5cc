"""Which versions a change leads to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.publishing import target
from wharfinger_daemon.errors import CorruptStateError, InvalidRequestError, OverloadedError, Reason
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import (
    Change,
    ClaimedVersions,
    Lifetimes,
    OfflineRoles,
    Publication,
    PublicationOrder,
    evade,
    plan,
)
from wharfinger_daemon.metadata.waiting import WaitingChanges, merged, request

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
WHOLE = NOW.replace(microsecond=0)
BINS = HashBins(1)
FAR = NOW + timedelta(days=300)
OFFLINE = OfflineRoles((RoleState("targets", 1, FAR), RoleState("bins", 1, FAR)), BINS)
LIFETIMES = Lifetimes(timedelta(hours=8), timedelta(hours=4), timedelta(hours=2))


def order(*renew: str, offline: OfflineRoles = OFFLINE) -> PublicationOrder:
    return PublicationOrder(Change(), frozenset(renew), offline, LIFETIMES, NOW)


def states(**versions: int) -> dict[str, RoleState]:
    named = {"targets": 1, "bins": 1, "bins-0": 5, "bins-1": 6, "snapshot": 7, "timestamp": 8} | versions
    return {role: RoleState(role, version, FAR) for role, version in named.items()}


def test_the_first_publication_makes_version_1_of_everything() -> None:
    planned = plan(order(), set(), {})
    assert planned is not None
    publication = planned.publication
    assert (1, 1, {"bins-0": 1, "bins-1": 1}) == (
        publication.timestamp_version,
        publication.snapshot_version,
        publication.bins,
    )
    assert {"bins-0", "bins-1", "snapshot", "timestamp", "targets", "bins"} == {one.role for one in planned.states}


def test_nothing_to_do_is_no_publication() -> None:
    assert plan(order(), set(), states()) is None


def test_a_touched_bin_raises_itself_the_snapshot_and_the_timestamp_by_one() -> None:
    planned = plan(order(), {"bins-1"}, states())
    assert planned is not None
    assert (9, 8, {"bins-1": 7}) == (
        planned.publication.timestamp_version,
        planned.publication.snapshot_version,
        planned.publication.bins,
    )
    assert (
        RoleState("bins-1", 7, WHOLE + timedelta(hours=8)),
        RoleState("snapshot", 8, WHOLE + timedelta(hours=4)),
        RoleState("timestamp", 9, WHOLE + timedelta(hours=2)),
    ) == planned.states


def test_renewing_the_timestamp_leaves_the_snapshot_alone() -> None:
    planned = plan(order("timestamp"), set(), states())
    assert planned is not None
    assert (9, 7, {}) == (
        planned.publication.timestamp_version,
        planned.publication.snapshot_version,
        planned.publication.bins,
    )
    assert ["timestamp"] == [one.role for one in planned.states]


def test_renewing_the_snapshot_needs_a_new_timestamp() -> None:
    planned = plan(order("snapshot"), set(), states())
    assert planned is not None
    assert (9, 8) == (planned.publication.timestamp_version, planned.publication.snapshot_version)


def test_renewing_a_bin_raises_it() -> None:
    planned = plan(order("bins-0"), set(), states())
    assert planned is not None
    assert {"bins-0": 6} == planned.publication.bins


def test_a_new_version_of_an_offline_role_gets_into_a_new_snapshot() -> None:
    newer = OfflineRoles((RoleState("targets", 2, FAR), RoleState("bins", 1, FAR)), BINS)
    planned = plan(order(offline=newer), set(), states())
    assert planned is not None
    assert ["snapshot", "timestamp", "targets"] == [one.role for one in planned.states]


def test_an_offline_role_never_goes_back() -> None:
    with pytest.raises(CorruptStateError) as refused:
        plan(order(), {"bins-0"}, states(targets=2))
    assert Reason.REPOSITORY_INVALID == refused.value.reason


def test_a_change_beyond_what_is_listed_leaves_out_what_is_so_already() -> None:
    change = Change({"same": target("same"), "other": target("other", b"new")}, frozenset({"gone", "present"}))
    listed = {"same": target("same"), "other": target("other", b"old"), "present": target("present")}
    beyond = change.beyond(listed)
    assert (Change({"other": target("other", b"new")}, frozenset({"present"}))) == beyond
    assert {"same", "other", "gone", "present"} == change.paths


PATHS = st.sampled_from("abcd")
CHANGES = st.lists(
    st.dictionaries(PATHS, st.one_of(st.none(), st.binary(max_size=2)), max_size=4).map(
        lambda wanted: Change(
            {path: target(path, content) for path, content in wanted.items() if content is not None},
            frozenset(path for path, content in wanted.items() if content is None),
        )
    ),
    max_size=6,
)


@given(CHANGES, st.dictionaries(PATHS, st.binary(max_size=2)).map(lambda d: {p: target(p, c) for p, c in d.items()}))
def test_changes_that_wait_together_come_to_the_same_as_one_after_another(changes: list[Change], listed: dict) -> None:  # type: ignore[type-arg]
    one_by_one = dict(listed)
    for change in changes:
        one_by_one = {path: one for path, one in one_by_one.items() if path not in change.remove} | dict(change.add)
    together = merged(changes)
    at_once = {path: one for path, one in listed.items() if path not in together.remove} | dict(together.add)
    assert one_by_one == at_once
    assert together.remove.isdisjoint(together.add)


def test_a_path_both_added_and_removed_is_refused() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        request([target("a")], ["a"])
    assert (Reason.TARGET_INVALID, "a") == (refused.value.reason, refused.value.details["path"])


def test_a_path_added_twice_is_refused_unless_it_is_the_same() -> None:
    assert {"a": target("a")} == request([target("a"), target("a")], []).add
    with pytest.raises(InvalidRequestError):
        request([target("a", b"1"), target("a", b"2")], [])


def test_what_is_no_path_cannot_be_removed() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        request([], ["../up"])
    assert Reason.TARGET_PATH_INVALID == refused.value.reason


async def test_the_queue_is_bounded() -> None:
    waiting = WaitingChanges(1)
    first = waiting.put(Change())
    with pytest.raises(OverloadedError) as refused:
        waiting.put(Change())
    assert Reason.PUBLICATION_QUEUE_FULL == refused.value.reason
    assert (1, True, False) == (len(waiting), waiting.withdraw(first), waiting.withdraw(first))


PREPARED = Publication(timestamp_version=8, snapshot_version=7, bins={"bins-0": 5}, published=False)


def test_a_publication_whose_versions_are_taken_moves_above_them() -> None:
    claimed = {"bins-0": ClaimedVersions(5), "snapshot": ClaimedVersions(40), "timestamp": ClaimedVersions(7)}
    moved = evade(PREPARED, states(), claimed, order())
    assert Publication(8, 41, {"bins-0": 6}, published=False) == moved.publication
    assert {WHOLE + LIFETIMES.of(state.role) for state in moved.states} == {state.expires for state in moved.states}


def test_a_bin_that_a_signed_snapshot_names_higher_moves_up_to_that() -> None:
    """Otherwise our next snapshot would name it lower, and be refused for ever."""
    claimed = {"bins-1": ClaimedVersions(signed=6, named=9), "bins-0": ClaimedVersions(signed=4, named=3)}
    moved = evade(PREPARED, states(), claimed, order())
    assert {"bins-0": 5, "bins-1": 9} == dict(moved.publication.bins)


def test_a_snapshot_that_a_signed_timestamp_names_higher_moves_up_to_that() -> None:
    moved = evade(PREPARED, states(), {"snapshot": ClaimedVersions(signed=7, named=50)}, order())
    assert 50 == moved.publication.snapshot_version


@given(st.integers(0, 100), st.integers(0, 100))
def test_the_lowest_free_version_is_above_what_is_signed_and_not_below_what_is_named(signed: int, named: int) -> None:
    free = ClaimedVersions(signed, named).lowest_free
    assert free > signed and free >= named
    assert free - 1 <= signed or free - 1 < named
