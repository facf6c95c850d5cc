"""Keys move only where the verified metadata says so; signing learns of every move, and the log of every act."""

import asyncio

import pytest

from tests.support.key_repositories import KeyWorld, ListedRepository, OnlineKey
from wharfinger_daemon.audit.leaf import Act
from wharfinger_daemon.errors import (
    InvalidRequestError,
    NotFoundError,
    Reason,
    RefusedError,
    StartupError,
    UnavailableError,
)
from wharfinger_daemon.keys.administration import KeyAdministration
from wharfinger_daemon.keys.lines import KeyLine, KeyLines
from wharfinger_daemon.keys.memory_records import MemoryKeyRecords
from wharfinger_daemon.signing.standing import KeyState

OLD, NEW, THIRD = OnlineKey(), OnlineKey(), OnlineKey()
LINES = (KeyLine("times", "pypi", ("timestamp", "snapshot")), KeyLine("bins", "pypi", ("bins-*",)))


@pytest.fixture
def world():
    return KeyWorld(MemoryKeyRecords(), OLD, NEW)


@pytest.fixture
async def begun(world):
    """A world in which OLD signs, and NEW is on the token."""
    await world.trust(OLD)
    await world.administration.start()
    return world


async def refusal(act):
    with pytest.raises(RefusedError) as caught:
        await act
    return caught.value.reason


# ---- The first start -------------------------------------------------------------------------------------------------
async def test_key_of_the_first_ceremony_is_adopted_and_signs(begun):
    assert {OLD.keyid: KeyState.ACTIVE} == begun.states()
    row = (await begun.rows())[OLD.keyid]
    assert ("online", "online-1", OLD.der) == (row.line, row.label, row.public_key)
    assert [Act.KEY_PUBLISHED, Act.KEY_ACTIVATED] == [leaf.act for leaf in begun.records.leaves]
    assert {"local"} == {leaf.caller for leaf in begun.records.leaves}


async def test_another_start_changes_nothing(begun):
    before = await begun.rows(), list(begun.records.leaves)
    await begun.administration.start()
    assert before == (await begun.rows(), begun.records.leaves)


async def test_line_with_a_choice_begins_with_neither_key(world):
    await world.trust(OLD, NEW)
    await world.administration.start()
    assert {OLD.keyid: KeyState.PUBLISHED, NEW.keyid: KeyState.PUBLISHED} == world.states()
    await world.administration.activate(NEW.keyid, caller="security")
    assert {OLD.keyid: KeyState.PUBLISHED, NEW.keyid: KeyState.ACTIVE} == world.states()


async def test_key_that_some_roles_of_its_line_lack_is_adopted_and_does_not_sign(world):
    await world.trust(OLD, bins=[OLD, NEW])
    await world.administration.start()
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.GENERATED} == world.states()


async def test_line_that_had_an_active_key_does_not_begin_by_itself_again(begun):
    await begun.trust(NEW)
    await begun.administration.retire(OLD.keyid, caller="security")
    await begun.administration.adopt("pypi")
    assert {OLD.keyid: KeyState.RETIRING, NEW.keyid: KeyState.PUBLISHED} == begun.states()


async def test_each_line_has_an_active_key():
    world = KeyWorld(MemoryKeyRecords(), OLD, NEW, lines=LINES)
    await world.trust(timestamp=[OLD], snapshot=[OLD], bins=[NEW])
    await world.administration.start()
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.ACTIVE} == world.states()
    assert {"times", "bins"} == {row.line for row in (await world.rows()).values()}


async def test_start_is_refused_where_the_canary_signs_a_role():
    world = KeyWorld(MemoryKeyRecords(), OLD, reserved=frozenset({OLD.der}))
    await world.trust(OLD)
    with pytest.raises(StartupError, match="canary"):
        await world.administration.start()


# ---- Rotation --------------------------------------------------------------------------------------------------------
async def test_rotation_with_overlap(begun):
    """Both keys are listed, the new one is published and activated, the old one dropped: one signs at every moment."""
    administration = begun.administration
    await begun.trust(OLD, NEW)
    await administration.adopt("pypi")
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.PUBLISHED} == begun.states()
    assert KeyState.PUBLISHED is (await administration.publish(NEW.keyid, caller="security")).key.state
    activated = await administration.activate(NEW.keyid, caller="security")
    assert ("pypi", True, 0) == (activated.repository, activated.held, activated.needed_by)
    assert {"timestamp", "snapshot", "bins-*"} == set(activated.roles)
    assert {OLD.keyid: KeyState.RETIRING, NEW.keyid: KeyState.ACTIVE} == begun.states()
    leaf = begun.records.leaves[-1]
    assert (Act.KEY_ACTIVATED, "security", NEW.keyid, OLD.keyid, 2) == (
        leaf.act,
        leaf.caller,
        leaf.details["keyid"],
        leaf.details["retiring"],
        leaf.details["root_version"],
    )
    await begun.trust(NEW)
    assert KeyState.RETIRING is (await administration.retire(OLD.keyid, caller="security")).key.state


async def test_going_back_in_an_overlap(begun):
    await begun.trust(OLD, NEW)
    await begun.administration.adopt("pypi")
    await begun.administration.activate(NEW.keyid, caller="security")
    await begun.administration.activate(OLD.keyid, caller="security")
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.RETIRING} == begun.states()


async def test_repeated_acts_change_nothing_and_are_logged_once(begun):
    await begun.trust(OLD, NEW)
    await begun.administration.adopt("pypi")
    for _ in range(2):
        await begun.administration.publish(NEW.keyid, caller="security")
        await begun.administration.activate(NEW.keyid, caller="security")
        await begun.administration.retire(OLD.keyid, caller="security")
    acts = [leaf.act for leaf in begun.records.leaves]
    assert 2 == acts.count(Act.KEY_ACTIVATED)
    assert 0 == acts.count(Act.KEY_RETIRED)


async def test_key_that_was_generated_beside_the_running_daemon_is_seen_when_it_is_published(begun):
    await begun.trust(OLD, THIRD)
    await begun.administration.adopt("pypi")
    assert {OLD.keyid: KeyState.ACTIVE} == begun.states()
    begun.token.labels[THIRD.der] = "online-3"
    await begun.administration.adopt("pypi")
    assert THIRD.der in begun.standing.now.held
    assert KeyState.PUBLISHED is (await begun.administration.publish(THIRD.keyid, caller="security")).key.state


async def test_nothing_moves_without_the_verified_metadata(begun):
    await begun.trust(OLD, bins=[OLD, NEW])
    await begun.administration.adopt("pypi")
    assert Reason.KEY_NOT_PUBLISHED == await refusal(begun.administration.publish(NEW.keyid, caller="security"))
    assert Reason.KEY_STATE_INVALID == await refusal(begun.administration.activate(NEW.keyid, caller="security"))
    assert Reason.KEY_STILL_NEEDED == await refusal(begun.administration.retire(OLD.keyid, caller="security"))
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.GENERATED} == begun.states()


async def test_key_that_never_was_active_is_retired_and_logged(begun):
    await begun.trust(OLD, NEW)
    await begun.administration.adopt("pypi")
    retired = await begun.administration.retire(NEW.keyid, caller="security")
    assert KeyState.RETIRING is retired.key.state
    assert KeyState.PUBLISHED is begun.states()[NEW.keyid], "it must not sign when it is named"
    assert (Act.KEY_RETIRED, "security") == (begun.records.leaves[-1].act, begun.records.leaves[-1].caller)


async def test_revoked_key_is_retired_while_the_token_is_gone(begun):
    await begun.trust(NEW)
    begun.token.answers = False
    await begun.administration.retire(OLD.keyid, caller="security")
    assert {OLD.keyid: KeyState.RETIRING} == begun.states()
    with pytest.raises(UnavailableError):
        await begun.administration.publish(OLD.keyid, caller="security")


# ---- Lines that are configured otherwise than before -----------------------------------------------------------------
ALL = KeyLine("all", "pypi", ("timestamp", "snapshot", "bins-*"))


async def configured_anew(world, *lines):
    """Another start, with other lines."""
    world.administration._lines = KeyLines(lines, ["pypi"])
    await world.administration.start()


async def test_keys_follow_their_line_when_it_is_renamed(begun):
    """Otherwise the successor would be activated beside the key that signs, and signing could not choose."""
    await begun.trust(OLD, NEW)
    await configured_anew(begun, ALL)
    assert {"all"} == {row.line for row in (await begun.rows()).values()}
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.PUBLISHED} == begun.states()
    await begun.administration.activate(NEW.keyid, caller="security")
    assert {OLD.keyid: KeyState.RETIRING, NEW.keyid: KeyState.ACTIVE} == begun.states()


async def test_keys_of_joined_lines_sign_until_one_key_takes_over_from_both():
    world = KeyWorld(MemoryKeyRecords(), OLD, NEW, lines=LINES)
    await world.trust(timestamp=[OLD], snapshot=[OLD], bins=[NEW])
    await world.administration.start()
    await configured_anew(world, ALL)
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.ACTIVE} == world.states()
    world.token.labels[THIRD.der] = "all-1"
    await world.trust(THIRD, timestamp=[OLD, THIRD], snapshot=[OLD, THIRD], bins=[NEW, THIRD])
    await world.administration.adopt("pypi")
    assert KeyState.PUBLISHED is world.states()[THIRD.keyid], "it does not begin by itself"
    await world.administration.activate(THIRD.keyid, caller="security")
    retiring, active = KeyState.RETIRING, KeyState.ACTIVE
    assert {OLD.keyid: retiring, NEW.keyid: retiring, THIRD.keyid: active} == world.states()
    assert {OLD.keyid, NEW.keyid} == set(world.records.leaves[-1].details["retiring"].split())
    with pytest.raises(RefusedError) as caught:
        await world.administration.activate(OLD.keyid, caller="security")
    assert Reason.KEY_LINE_UNKNOWN == caught.value.reason


async def test_left_over_key_can_be_retired_once_another_signs(begun):
    await configured_anew(begun, ALL)
    await begun.trust(NEW)
    begun.administration._lines = KeyLines([KeyLine("new", "pypi", ("timestamp", "snapshot", "bins-*"))], ["pypi"])
    await begun.administration.adopt("pypi")
    assert "all" == (await begun.rows())[OLD.keyid].line
    await begun.administration.retire(OLD.keyid, caller="security")
    assert {OLD.keyid: KeyState.RETIRING, NEW.keyid: KeyState.ACTIVE} == begun.states()


# ---- Revocation ------------------------------------------------------------------------------------------------------
async def test_only_successor_of_a_revoked_key_takes_over_at_once(begun):
    await begun.trust(NEW)
    await begun.administration.succeed("pypi", caller="security")
    assert {OLD.keyid: KeyState.RETIRING, NEW.keyid: KeyState.ACTIVE} == begun.states()
    said = [(leaf.act, leaf.details["keyid"], leaf.caller) for leaf in begun.records.leaves[-2:]]
    assert [(Act.KEY_RETIRED, OLD.keyid, "security"), (Act.KEY_ACTIVATED, NEW.keyid, "security")] == said
    assert (await begun.rows())[NEW.keyid].published_at is not None


@pytest.mark.parametrize("listed", [(), (NEW, THIRD)], ids=["no successor", "two successors"])
async def test_revoked_key_is_out_of_use_though_nobody_can_say_who_follows(begun, listed):
    begun.token.labels[THIRD.der] = "online-3"
    await begun.trust(*listed)
    await begun.administration.succeed("pypi", caller="security")
    assert KeyState.RETIRING is begun.states()[OLD.keyid]
    assert KeyState.ACTIVE not in begun.states().values()


async def test_line_whose_revoked_key_was_retired_before_gets_its_only_successor(begun):
    await begun.trust(NEW)
    await begun.administration.retire(OLD.keyid, caller="security")
    await begun.administration.succeed("pypi", caller="security")
    assert {OLD.keyid: KeyState.RETIRING, NEW.keyid: KeyState.ACTIVE} == begun.states()


async def test_key_that_is_still_listed_stays_in_use(begun):
    await begun.trust(OLD, NEW)
    await begun.administration.succeed("pypi", caller="security")
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.PUBLISHED} == begun.states()


async def test_problems_of_the_next_start_are_known_before_metadata_is_trusted():
    world = KeyWorld(MemoryKeyRecords(), OLD, lines=LINES)
    shared, separate = ListedRepository(), ListedRepository()
    shared.list(OLD)
    (problem,) = world.administration.problems(await shared.trusted())
    assert "is listed for roles of several lines: times, bins" in problem
    separate.list(timestamp=[OLD], snapshot=[OLD], bins=[NEW])
    assert [] == world.administration.problems(await separate.trusted())


# ---- What administrators are told ------------------------------------------------------------------------------------
async def test_keys_are_listed_the_newest_first(begun):
    begun.repository.clock.advance(begun.repository._expires - begun.repository.clock.now())
    begun.repository._expires = begun.repository.clock.now().replace(year=2040)
    await begun.trust(OLD, NEW)
    await begun.administration.adopt("pypi")
    begun.records.needed[begun.repository.identity] = {OLD.keyid: 7}
    first, second = await begun.administration.list_keys()
    assert [NEW.keyid, OLD.keyid] == [first.key.keyid, second.key.keyid]
    assert (0, 7) == (first.needed_by, second.needed_by)
    assert second == await begun.administration.get(OLD.keyid)
    assert [] == [one for one in await begun.administration.list_keys("pypi") if not one.held]


async def test_keys_are_told_as_they_were_while_the_token_is_gone(begun):
    begun.token.answers = False
    (report,) = await begun.administration.list_keys()
    assert report.held is True


async def test_without_a_token_nobody_says_what_it_holds(begun):
    blind = KeyAdministration(begun.standing, KeyLines([], ["pypi"]), begun.records, None, begun.repository.clock)
    assert [None] == [report.held for report in await blind.list_keys("pypi")]
    with pytest.raises(UnavailableError) as caught:
        await blind.activate(OLD.keyid, caller="local")
    assert Reason.TOKEN_UNAVAILABLE == caught.value.reason


async def test_what_is_not_known_is_not_found(begun):
    for asking, reason in (
        (begun.administration.get("0" * 64), Reason.KEY_NOT_FOUND),
        (begun.administration.publish("0" * 64, caller="security"), Reason.KEY_NOT_FOUND),
        (begun.administration.list_keys("absent"), Reason.UNKNOWN_REPOSITORY),
    ):
        with pytest.raises(NotFoundError) as caught:
            await asking
        assert reason == caught.value.reason


async def test_key_of_two_repositories_is_not_moved(begun):
    """What it signs for one repository would be valid for the other."""
    other = ListedRepository("other", seed=1)
    other.list(OLD)
    begun.standing.trust(await other.trusted())
    begun.administration._lines = KeyLines([], ["pypi", "other"])
    await begun.administration.start()
    with pytest.raises(InvalidRequestError) as caught:
        await begun.administration.retire(OLD.keyid, caller="security")
    assert "pypi, other" in caught.value.message


# ---- Acts and those who ask for them ---------------------------------------------------------------------------------
class SlowRecords(MemoryKeyRecords):
    """Writes, and answers only when it is let."""

    def __init__(self):
        super().__init__()
        self.written, self.answering = asyncio.Event(), asyncio.Event()
        self.answering.set()

    async def change(self, repository, decide):
        keys = await super().change(repository, decide)
        self.written.set()
        await self.answering.wait()
        return keys


async def test_act_is_finished_though_whoever_asked_has_gone():
    """Otherwise the rows would say one thing, and signing would do another."""
    world = KeyWorld(SlowRecords(), OLD, NEW)
    await world.trust(OLD, NEW)
    await world.administration.start()
    await world.administration.activate(OLD.keyid, caller="security")
    world.records.written.clear()
    world.records.answering.clear()
    asking = asyncio.create_task(world.administration.activate(NEW.keyid, caller="security"))
    await world.records.written.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert KeyState.ACTIVE is world.states()[OLD.keyid]
    world.records.answering.set()
    await world.administration.publish(NEW.keyid, caller="security")
    assert {OLD.keyid: KeyState.RETIRING, NEW.keyid: KeyState.ACTIVE} == world.states()


async def test_refusal_of_an_act_that_nobody_waits_for_is_forgotten(begun):
    begun.administration._turn = turn = asyncio.Lock()
    await turn.acquire()
    asking = asyncio.create_task(begun.administration.retire(OLD.keyid, caller="security"))
    while not begun.administration._running:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    turn.release()
    while begun.administration._running:
        await asyncio.sleep(0)
    assert {OLD.keyid: KeyState.ACTIVE} == begun.states()


async def test_concurrent_activations_leave_one_active_key(begun):
    begun.token.labels[THIRD.der] = "online-3"
    await begun.trust(OLD, NEW, THIRD)
    await begun.administration.adopt("pypi")
    keys = [OLD, NEW, THIRD] * 4
    await asyncio.gather(*(begun.administration.activate(key.keyid, caller="security") for key in keys))
    assert 1 == list(begun.states().values()).count(KeyState.ACTIVE)
    assert begun.states() == {keyid: row.signs_as for keyid, row in (await begun.rows()).items()}


async def test_records_that_do_not_answer_change_nothing(begun):
    await begun.trust(OLD, NEW)
    await begun.administration.adopt("pypi")
    begun.records.available = False
    with pytest.raises(UnavailableError):
        await begun.administration.activate(NEW.keyid, caller="security")
    assert {OLD.keyid: KeyState.ACTIVE, NEW.keyid: KeyState.PUBLISHED} == begun.states()
