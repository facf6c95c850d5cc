"""Which moves a key may make, in a table: every state, every wish, and what the evidence must say."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from wharfinger_daemon.errors import NotFoundError, Reason, RefusedError
from wharfinger_daemon.keys.life_cycle import (
    Evidence,
    LineKey,
    activate,
    active_key,
    begin_destruction,
    find,
    finish_destruction,
    publish,
    retire,
)
from wharfinger_daemon.signing.standing import KeyState

AT = datetime(2030, 1, 1, tzinfo=UTC)
LATER = datetime(2030, 2, 1, tzinfo=UTC)
LISTED = Evidence(missing=(), listed=("timestamp", "bins-*"), held=True)
UNLISTED = Evidence(missing=("timestamp", "bins-*"), listed=(), held=True)
HALF_LISTED = Evidence(missing=("bins-*",), listed=("timestamp",), held=True)
NOT_HELD = replace(LISTED, held=False)


def key(state, keyid="a", line="online", **changes):
    return LineKey(keyid, line, state, "online-1", b"der", "ecdsa", "ecdsa-sha2-nistp256", AT, **changes)


def refusal(move):
    with pytest.raises(RefusedError) as caught:
        move()
    return caught.value.reason


# ---- Publishing ------------------------------------------------------------------------------------------------------
def test_generated_key_is_published_once_it_is_listed_for_every_role():
    published = publish(key(KeyState.GENERATED), LISTED, LATER)
    assert (KeyState.PUBLISHED, LATER) == (published.state, published.published_at)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (UNLISTED, Reason.KEY_NOT_PUBLISHED),
        (HALF_LISTED, Reason.KEY_NOT_PUBLISHED),
        (NOT_HELD, Reason.KEY_NOT_HELD),
    ],
)
def test_key_is_not_published_without_evidence(evidence, reason):
    assert reason == refusal(lambda: publish(key(KeyState.GENERATED), evidence, LATER))


@pytest.mark.parametrize("state", [KeyState.PUBLISHED, KeyState.ACTIVE])
def test_published_key_stays_as_it_is(state):
    assert key(state) == publish(key(state), UNLISTED, LATER)


@pytest.mark.parametrize(
    "one", [key(KeyState.RETIRING), key(KeyState.DESTROYED), key(KeyState.GENERATED, destroyed_at=AT)]
)
def test_key_that_is_on_its_way_out_is_not_published(one):
    assert Reason.KEY_STATE_INVALID == refusal(lambda: publish(one, LISTED, LATER))


# ---- Activating ------------------------------------------------------------------------------------------------------
def test_activating_a_key_retires_those_that_signed_before():
    active, former = activate(key(KeyState.PUBLISHED, "b"), [key(KeyState.ACTIVE, "a")], LISTED, LATER)
    assert ("b", KeyState.ACTIVE, LATER) == (active.keyid, active.state, active.activated_at)
    assert ("a", KeyState.RETIRING, LATER) == (former.keyid, former.state, former.retired_at)


def test_first_key_of_a_line_replaces_none():
    (active,) = activate(key(KeyState.PUBLISHED), [], LISTED, LATER)
    assert KeyState.ACTIVE is active.state


def test_retiring_key_that_is_still_listed_may_go_back_to_work():
    back, former = activate(key(KeyState.RETIRING, "a", retired_at=AT), [key(KeyState.ACTIVE, "b")], LISTED, LATER)
    assert (KeyState.ACTIVE, None) == (back.state, back.retired_at)
    assert ("b", KeyState.RETIRING) == (former.keyid, former.state)


def test_active_key_stays_as_it_is():
    assert () == activate(key(KeyState.ACTIVE), [], UNLISTED, LATER)


@pytest.mark.parametrize(
    ("one", "evidence", "reason"),
    [
        (key(KeyState.GENERATED), LISTED, Reason.KEY_STATE_INVALID),
        (key(KeyState.DESTROYED, destroyed_at=AT), LISTED, Reason.KEY_STATE_INVALID),
        (key(KeyState.RETIRING, destroyed_at=AT), LISTED, Reason.KEY_STATE_INVALID),
        (key(KeyState.PUBLISHED), UNLISTED, Reason.KEY_NOT_PUBLISHED),
        (key(KeyState.PUBLISHED), HALF_LISTED, Reason.KEY_NOT_PUBLISHED),
        (key(KeyState.RETIRING), HALF_LISTED, Reason.KEY_NOT_PUBLISHED),
        (key(KeyState.PUBLISHED), NOT_HELD, Reason.KEY_NOT_HELD),
        (key(KeyState.PUBLISHED), replace(LISTED, configured=False), Reason.KEY_LINE_UNKNOWN),
    ],
)
def test_key_is_not_activated_without_evidence(one, evidence, reason):
    assert reason == refusal(lambda: activate(one, [], evidence, LATER))


def test_key_that_is_not_known_is_not_found():
    with pytest.raises(NotFoundError) as caught:
        find({}, "a")
    assert Reason.KEY_NOT_FOUND == caught.value.reason


# ---- Retiring --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", [KeyState.GENERATED, KeyState.PUBLISHED])
@pytest.mark.parametrize("evidence", [LISTED, UNLISTED])
def test_key_that_never_was_active_can_be_retired(state, evidence):
    retired = retire(key(state), evidence, LATER)
    assert (KeyState.RETIRING, LATER) == (retired.state, retired.retired_at)


@pytest.mark.parametrize("evidence", [UNLISTED, HALF_LISTED])
def test_revoked_key_can_be_retired_though_it_has_no_successor(evidence):
    assert KeyState.RETIRING is retire(key(KeyState.ACTIVE), evidence, LATER).state


def test_active_key_that_is_listed_cannot_be_retired():
    assert Reason.KEY_STILL_NEEDED == refusal(lambda: retire(key(KeyState.ACTIVE), LISTED, LATER))


def test_retiring_key_stays_as_it_is_and_a_destroyed_one_is_refused():
    assert key(KeyState.RETIRING) == retire(key(KeyState.RETIRING), LISTED, LATER)
    assert Reason.KEY_STATE_INVALID == refusal(lambda: retire(key(KeyState.DESTROYED), UNLISTED, LATER))


def test_key_that_was_retired_before_it_ever_signed_does_not_sign_when_it_is_named():
    assert KeyState.PUBLISHED is key(KeyState.RETIRING).signs_as
    assert KeyState.RETIRING is key(KeyState.RETIRING, activated_at=AT).signs_as
    assert KeyState.GENERATED is key(KeyState.GENERATED).signs_as


def test_key_whose_destruction_was_begun_signs_nothing():
    assert KeyState.DESTROYED is key(KeyState.RETIRING, activated_at=AT, destroyed_at=AT).signs_as


# ---- Destroying ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", [KeyState.GENERATED, KeyState.PUBLISHED, KeyState.RETIRING])
def test_key_that_nothing_needs_is_destroyed_in_two_steps(state):
    begun = begin_destruction(key(state), UNLISTED, 0, LATER)
    assert (state, LATER) == (begun.state, begun.destroyed_at)
    assert KeyState.DESTROYED is finish_destruction(begun).state


def test_destruction_that_was_begun_can_be_begun_again_and_finished_again():
    begun = key(KeyState.RETIRING, destroyed_at=AT)
    assert begun == begin_destruction(begun, UNLISTED, 0, LATER)
    gone = finish_destruction(begun)
    assert gone == finish_destruction(begin_destruction(gone, UNLISTED, 0, LATER))


@pytest.mark.parametrize(
    ("state", "evidence", "needed", "reason"),
    [
        (KeyState.ACTIVE, UNLISTED, 0, Reason.KEY_STATE_INVALID),
        (KeyState.RETIRING, LISTED, 0, Reason.KEY_STILL_NEEDED),
        (KeyState.RETIRING, HALF_LISTED, 0, Reason.KEY_STILL_NEEDED),
        (KeyState.RETIRING, UNLISTED, 3, Reason.KEY_STILL_NEEDED),
    ],
)
def test_key_that_something_needs_is_not_destroyed(state, evidence, needed, reason):
    assert reason == refusal(lambda: begin_destruction(key(state), evidence, needed, LATER))


def test_destruction_that_was_not_begun_is_not_finished():
    assert Reason.KEY_STATE_INVALID == refusal(lambda: finish_destruction(key(KeyState.RETIRING)))


def test_active_key_is_that_of_the_line():
    keys = {"a": key(KeyState.RETIRING, "a"), "b": key(KeyState.ACTIVE, "b"), "c": key(KeyState.ACTIVE, "c", "other")}
    assert keys["b"] == active_key(keys, "online")
    assert active_key(keys, "absent") is None
