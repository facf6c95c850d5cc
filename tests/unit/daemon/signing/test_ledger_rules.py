"""The rules of the ledger, each by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_daemon.errors import Reason, RefusedError
from wharfinger_daemon.signing.ledger import Epoch, Floors, LedgerState, Reservation

EPOCH = Epoch("a" * 64)
JUMP = 10


def reservation(version, content="x", role="bins-0", epoch=EPOCH, **meta):
    return Reservation(epoch, role, version, content.encode().ljust(32), "key", meta)


def floors_of(role, **names):
    floors = Floors()
    for name, version in names.items():
        floors.raise_to((EPOCH, role), {name.replace("_", "-"): version})
    return floors


def state_after(*reservations):
    state = LedgerState(Floors())
    state.admit_all(reservations, JUMP)
    return state


def reason_after(*reservations):
    *before, last = reservations
    error = state_after(*before).refusal(last, JUMP)
    return None if error is None else error.reason


def snapshot(version, content="x", **meta):
    return reservation(
        version, content, "snapshot", **{name.replace("_", "-"): number for name, number in meta.items()}
    )


def test_versions_may_go_up():
    assert reason_after(reservation(1), reservation(2), reservation(5)) is None


@pytest.mark.parametrize("highest", [1, 5])
def test_same_bytes_are_a_replay_even_of_an_old_version(highest):
    state = state_after(reservation(1), *([reservation(highest)] if highest > 1 else []))
    before = len(state.digests)
    assert state.refusal(reservation(1), JUMP) is None
    assert before == len(state.digests)


def test_other_bytes_for_a_used_version_are_equivocation():
    assert Reason.VERSION_EQUIVOCATION == reason_after(reservation(1), reservation(1, "y"))


def test_other_bytes_for_an_old_version_are_equivocation_too():
    assert Reason.VERSION_EQUIVOCATION == reason_after(reservation(1), reservation(2), reservation(1, "y"))


def test_version_that_was_left_out_is_a_rollback():
    assert Reason.VERSION_ROLLBACK == reason_after(reservation(1), reservation(3), reservation(2))


def test_version_at_or_below_a_declared_floor_is_a_rollback():
    """A lost ledger leaves a floor: what was signed up to there is not known any more."""
    state = LedgerState(floors_of("bins-0", bins_0=7))
    assert Reason.VERSION_ROLLBACK == state.refusal(reservation(7), JUMP).reason
    assert state.refusal(reservation(8), JUMP) is None


@pytest.mark.parametrize(("version", "reason"), [(JUMP, None), (JUMP + 1, Reason.VERSION_JUMP)])
def test_first_version_is_within_the_bound(version, reason):
    assert reason == reason_after(reservation(version))


@pytest.mark.parametrize(("version", "reason"), [(3 + JUMP, None), (4 + JUMP, Reason.VERSION_JUMP)])
def test_fast_forward_attack_is_bounded(version, reason):
    assert reason == reason_after(reservation(3), reservation(version))


def test_roles_repositories_and_epochs_have_versions_of_their_own():
    others = [
        reservation(1, "y", role="bins-1"),
        reservation(1, "y", epoch=Epoch("b" * 64)),
        reservation(1, "y", epoch=Epoch("a" * 64, 2)),
    ]
    assert 4 == len(state_after(reservation(1), *others).digests)


def test_snapshot_may_name_more_and_higher():
    assert (
        reason_after(snapshot(1, targets=1), snapshot(2, targets=1, bins_0=4), snapshot(3, targets=2, bins_0=5)) is None
    )


def test_snapshot_that_names_a_lower_version_rolls_back():
    assert Reason.META_ROLLBACK == reason_after(snapshot(1, targets=2), snapshot(2, targets=1))


def test_snapshot_that_drops_a_role_rolls_back():
    """TUF specification 5.5.5: clients refuse a snapshot that lost a role."""
    assert Reason.META_ROLLBACK == reason_after(snapshot(1, targets=1, bins_0=1), snapshot(2, targets=1))


def test_timestamp_that_names_a_lower_snapshot_rolls_back():
    before, after = (reservation(number, role="timestamp", snapshot=10 - number) for number in (1, 2))
    assert Reason.META_ROLLBACK == reason_after(before, after)


def test_snapshot_that_names_a_far_higher_version_jumps():
    """Its floor could never be reached again."""
    assert Reason.VERSION_JUMP == reason_after(snapshot(1, targets=1), snapshot(2, targets=2 + JUMP))


def test_refusal_names_role_version_and_the_role_that_was_named():
    error = state_after(snapshot(1, targets=2)).refusal(snapshot(2, targets=1), JUMP)
    assert {"role": "snapshot", "version": "2", "named_role": "targets"} == error.details
    assert "Version 2 of 'snapshot' names version 1 of 'targets', and an earlier version named 2." == error.message


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (reservation(1), reservation(1, "y"), Reason.VERSION_EQUIVOCATION),
        (reservation(2), reservation(1), Reason.VERSION_ROLLBACK),
        (snapshot(1, targets=2), snapshot(2, targets=1), Reason.META_ROLLBACK),
    ],
)
def test_rules_hold_inside_one_batch(first, second, reason):
    with pytest.raises(RefusedError) as caught:
        state_after(first, second)
    assert (reason, "1") == (caught.value.reason, caught.value.details["item"])


def test_refused_reservation_leaves_no_trace():
    state = state_after(snapshot(1, targets=2, bins_0=2))
    before = (dict(state.digests), {role: dict(names) for role, names in state.floors.own.items()})
    assert state.refusal(snapshot(2, targets=3, bins_0=1), JUMP) is not None
    assert before == (state.digests, state.floors.own)


def test_only_raised_floors_are_written():
    state = LedgerState(Floors(floors_of("snapshot", snapshot=1, targets=1, bins_0=4)))
    state.admit(snapshot(2, targets=1, bins_0=5), JUMP)
    assert {(EPOCH, "snapshot"): {"snapshot": 2, "bins-0": 5}} == state.floors.own
    assert {"snapshot": 2, "targets": 1, "bins-0": 5} == state.floors.names((EPOCH, "snapshot"))


def test_layer_of_floors_leaves_the_one_below_as_it_is_until_it_is_merged():
    below = floors_of("bins-0", bins_0=3)
    above = Floors(below)
    above.raise_to((EPOCH, "bins-0"), {"bins-0": 2})
    above.raise_to((EPOCH, "bins-0"), {"bins-0": 4})
    assert (4, 3) == (above.get((EPOCH, "bins-0"), "bins-0"), below.get((EPOCH, "bins-0"), "bins-0"))
    below.raise_all(above)
    assert 4 == below.get((EPOCH, "bins-0"), "bins-0")


names = st.sampled_from(["targets", "bins-0", "bins-1"])
reservations = st.builds(
    lambda role, version, content, meta: Reservation(
        EPOCH, role, version, content, "key", meta if role == "snapshot" else {}
    ),
    st.sampled_from(["bins-0", "bins-1", "snapshot"]),
    st.integers(-2, 40),
    st.sampled_from([b"x" * 32, b"y" * 32]),
    st.dictionaries(names, st.integers(1, 30)),
)


@given(st.lists(reservations, max_size=60))
def test_whatever_is_asked_no_version_has_two_digests_and_nothing_goes_down(asked):
    state = LedgerState(Floors())
    reserved = []
    for one in asked:
        replayed = (((one.epoch, one.role), one.version), one.digest) in state.digests.items()
        if state.refusal(one, JUMP) is None and not replayed:
            reserved.append(one)
    used = {}
    highest = {}
    named = {}
    for one in reserved:
        assert (one.role, one.version) not in used
        used[one.role, one.version] = one.digest
        assert highest.get(one.role, 0) < one.version <= highest.get(one.role, 0) + JUMP
        highest[one.role] = one.version
        if one.role == "snapshot":
            assert named.keys() <= one.meta.keys()
            assert all(one.meta[name] >= version for name, version in named.items())
            named = one.meta
