"""A key is destroyed where nothing needs it, and the log says so before and after."""

import pytest

from tests.support.key_repositories import KeyWorld, OnlineKey
from wharfinger_daemon.audit.leaf import Act
from wharfinger_daemon.errors import NotFoundError, Reason, RefusedError
from wharfinger_daemon.keys.destruction import Destruction
from wharfinger_daemon.keys.memory_records import MemoryKeyRecords
from wharfinger_daemon.keys.succession import Situation
from wharfinger_daemon.signing.standing import KeyState

OLD, NEW = OnlineKey(), OnlineKey()


@pytest.fixture
async def world():
    """OLD was replaced by NEW, and is not listed any more."""
    made = KeyWorld(MemoryKeyRecords(), OLD, NEW)
    await made.trust(OLD)
    await made.administration.start()
    await made.trust(OLD, NEW)
    await made.administration.adopt("pypi")
    await made.administration.activate(NEW.keyid, caller="security")
    await made.trust(NEW)
    return made


def destruction(world, key=OLD):
    situation = Situation(
        world.standing.now.repository("pypi"),
        tuple(world.administration._lines),
        dict(world.token.labels),
        world.repository.clock.now(),
    )
    return Destruction(world.records, situation, key.keyid, world.repository.clock, caller="local")


async def refusal(asking):
    with pytest.raises(RefusedError) as caught:
        await asking
    return caught.value.reason


async def test_key_is_destroyed_in_two_steps_each_with_a_leaf(world):
    before = len(world.records.leaves)
    one = destruction(world)
    assert KeyState.RETIRING is (await one.require_allowed()).state
    assert before == len(world.records.leaves), "asking changes nothing"
    begun = await one.begin()
    assert (KeyState.RETIRING, True) == (begun.state, begun.destroyed_at is not None)
    assert KeyState.DESTROYED is (await one.finish()).state
    said = [(leaf.act, leaf.details["keyid"], leaf.details["step"]) for leaf in world.records.leaves[before:]]
    assert [(Act.KEY_DESTROYED, OLD.keyid, "about to be"), (Act.KEY_DESTROYED, OLD.keyid, "done")] == said


async def test_destruction_that_was_interrupted_goes_on_though_the_key_is_gone_already(world):
    await destruction(world).begin()
    del world.token.labels[OLD.der]
    again = destruction(world)
    await again.require_allowed()
    await again.begin()
    await again.finish()
    assert KeyState.DESTROYED is (await again.finish()).state
    assert 2 == [leaf.act for leaf in world.records.leaves].count(Act.KEY_DESTROYED)


async def test_missing_key_is_not_a_destroyed_one(world):
    del world.token.labels[OLD.der]
    assert Reason.KEY_NOT_HELD == await refusal(destruction(world).require_allowed())


async def test_key_that_signs_is_not_destroyed(world):
    assert Reason.KEY_STATE_INVALID == await refusal(destruction(world, NEW).require_allowed())
    assert Reason.KEY_STATE_INVALID == await refusal(destruction(world, NEW).begin())


async def test_key_that_is_listed_or_needed_is_not_destroyed(world):
    world.records.needed[world.repository.identity] = {OLD.keyid: 4}
    assert Reason.KEY_STILL_NEEDED == await refusal(destruction(world).require_allowed())
    world.records.needed.clear()
    await world.trust(NEW, timestamp=[NEW, OLD])
    assert Reason.KEY_STILL_NEEDED == await refusal(destruction(world).begin())


async def test_key_that_is_not_known_is_not_found(world):
    with pytest.raises(NotFoundError):
        await destruction(world, OnlineKey()).require_allowed()


async def test_key_whose_destruction_was_begun_never_signs_again(world):
    await destruction(world).begin()
    await world.trust(OLD, NEW)
    assert Reason.KEY_STATE_INVALID == await refusal(world.administration.activate(OLD.keyid, caller="security"))
    assert OLD.keyid not in {key for key, state in world.states().items() if state is KeyState.ACTIVE}
