"""What every ledger does. The rules themselves are tested in ``tests/unit/daemon/signing/test_ledger_rules.py``."""

import asyncio

import pytest

from wharfinger_daemon.audit.leaf import LeafReference
from wharfinger_daemon.errors import CorruptStateError, Reason, RefusedError
from wharfinger_daemon.signing.ledger import Epoch, Requester

JUMP = 10
EPOCH = Epoch("a" * 64)


@pytest.fixture
def enter(ledger, at):
    """Reserves, and returns leaves with the signatures on record."""

    async def enter(*reservations):
        requester = Requester("warehouse", "request")
        return await ledger.reserve(reservations, requester, max_version_jump=JUMP, at=at)

    return enter


@pytest.fixture
def reserve(enter):
    async def reserve(*reservations):
        return [recorded.signature for recorded in await enter(*reservations)]

    return reserve


@pytest.fixture
def record(ledger, enter):
    async def record(*pairs, synced=True):
        leaves = [recorded.leaf for recorded in await enter(*(reservation for reservation, _ in pairs))]
        return await ledger.record(list(zip(leaves, (made for _, made in pairs), strict=True)), synced=synced)

    return record


@pytest.fixture
def refused(reserve):
    async def refused(*reservations):
        with pytest.raises(RefusedError) as caught:
            await reserve(*reservations)
        return caught.value.reason, caught.value.details["item"]

    return refused


async def test_new_ledger_knows_nothing(ledger):
    assert {} == await ledger.floors(EPOCH)


async def test_reserved_version_has_no_signature_until_one_is_recorded(reserve, record, reservation):
    assert [None] == await reserve(reservation(1))
    assert [None] == await reserve(reservation(1)), "as after a kill between the ledger and the token"
    assert [b"one"] == await record((reservation(1), b"one"))
    assert [b"one"] == await reserve(reservation(1))


async def test_old_versions_are_replayed(reserve, record, reservation):
    await reserve(reservation(1), reservation(2))
    await record((reservation(1), b"one"), (reservation(2), b"two"))
    await reserve(reservation(3))
    assert [b"one", b"two", None] == await reserve(reservation(1), reservation(2), reservation(3))


async def test_first_recorded_signature_stays(reserve, record, reservation):
    await reserve(reservation(1))
    await record((reservation(1), b"first"))
    assert [b"first"] == await record((reservation(1), b"second"))
    assert [b"first"] == await reserve(reservation(1))


async def test_same_signature_twice_in_a_batch_is_recorded_once(reserve, record, reservation):
    await reserve(reservation(1))
    assert [b"first", b"first"] == await record((reservation(1), b"first"), (reservation(1), b"second"))


async def test_each_key_has_its_own_signature(reserve, record, reservation):
    await reserve(reservation(1), reservation(1, keyid="other"))
    await record((reservation(1), b"one"), (reservation(1, keyid="other"), b"two"))
    assert [b"two", b"one"] == await reserve(reservation(1, keyid="other"), reservation(1))
    assert [None] == await reserve(reservation(1, keyid="third"))


async def test_refused_batch_leaves_nothing_behind(ledger, reserve, refused, reservation):
    await reserve(reservation(1))
    before = await ledger.floors(EPOCH)
    good = [reservation(2), reservation(1, role="bins-1"), reservation(1, role="snapshot", meta={"targets": 1})]
    assert (Reason.VERSION_EQUIVOCATION, "3") == await refused(*good, reservation(1, "y"))
    assert before == await ledger.floors(EPOCH)
    assert [None] == await reserve(reservation(1, "another", role="bins-1"))


async def test_equivocation_is_refused(reserve, refused, reservation):
    await reserve(reservation(1), reservation(2))
    for version in (1, 2):
        assert (Reason.VERSION_EQUIVOCATION, "0") == await refused(reservation(version, "y"))


async def test_rollback_is_refused(reserve, refused, reservation):
    await reserve(reservation(5))
    assert (Reason.VERSION_ROLLBACK, "0") == await refused(reservation(4))


async def test_jump_is_refused(reserve, refused, reservation):
    assert (Reason.VERSION_JUMP, "0") == await refused(reservation(11))
    await reserve(reservation(10))
    assert (Reason.VERSION_JUMP, "0") == await refused(reservation(21))
    await reserve(reservation(20))


async def test_meta_rollback_is_refused(reserve, refused, reservation):
    await reserve(reservation(1, role="snapshot", meta={"targets": 1, "bins-0": 2}))
    await reserve(reservation(2, role="snapshot", meta={"targets": 1, "bins-0": 3, "bins-1": 1}))
    lower = reservation(3, role="snapshot", meta={"targets": 1, "bins-0": 2, "bins-1": 1})
    dropped = reservation(3, role="snapshot", meta={"targets": 1, "bins-0": 3})
    assert (Reason.META_ROLLBACK, "0") == await refused(lower)
    assert (Reason.META_ROLLBACK, "0") == await refused(dropped)


async def test_rules_hold_inside_one_batch(refused, reservation):
    assert (Reason.VERSION_EQUIVOCATION, "1") == await refused(reservation(1), reservation(1, "y"))
    assert (Reason.VERSION_ROLLBACK, "1") == await refused(reservation(2), reservation(1))


async def test_same_item_twice_in_a_batch_is_one_version(reserve, reservation):
    assert [None, None] == await reserve(reservation(1), reservation(1))


async def test_epochs_and_repositories_are_apart(ledger, reserve, reservation):
    others = [Epoch("a" * 64, 2), Epoch("b" * 64, 1)]
    await reserve(reservation(1), *(reservation(2, "y", epoch=other) for other in others))
    assert {"bins-0": {"bins-0": 1}} == await ledger.floors(EPOCH)
    for other in others:
        assert {"bins-0": {"bins-0": 2}} == await ledger.floors(other)


async def test_floors_hold_a_roles_own_version_and_what_it_named(ledger, reserve, reservation):
    await reserve(reservation(1, role="snapshot", meta={"targets": 1, "bins-0": 4}), reservation(3))
    await reserve(reservation(2, role="snapshot", meta={"targets": 2, "bins-0": 4}))
    expected = {"bins-0": {"bins-0": 3}, "snapshot": {"snapshot": 2, "targets": 2, "bins-0": 4}}
    assert expected == await ledger.floors(EPOCH)


async def test_preview_says_what_reserve_would_and_writes_nothing(ledger, reserve, record, reservation):
    await reserve(reservation(1))
    await record((reservation(1), b"one"))
    answers = await ledger.preview(
        [reservation(1), reservation(1, "y"), reservation(2), reservation(2, "y"), reservation(3)],
        max_version_jump=JUMP,
    )
    said = [answer.reason if isinstance(answer, RefusedError) else answer for answer in answers]
    assert [b"one", Reason.VERSION_EQUIVOCATION, None, Reason.VERSION_EQUIVOCATION, None] == said
    assert {"bins-0": {"bins-0": 1}} == await ledger.floors(EPOCH)


async def test_signature_without_a_reservation_is_refused(ledger, enter, reservation):
    """Nothing is signed that is not on record; if it seems so, somebody changed the record."""
    [recorded] = await enter(reservation(1))
    with pytest.raises(CorruptStateError):
        await ledger.record([(recorded.leaf, b"one"), (LeafReference(7, b"hash"), b"two")], synced=True)


async def test_every_version_and_key_has_a_leaf_of_its_own_that_stays(enter, reservation):
    items = [reservation(1), reservation(1, keyid="other"), reservation(1, role="bins-1"), reservation(1)]
    first = [recorded.leaf for recorded in await enter(*items)]
    assert [0, 1, 2, 0] == [leaf.index for leaf in first]
    assert first == [recorded.leaf for recorded in await enter(*items)]
    assert 3 == len({leaf.hash for leaf in first})


async def test_leaf_of_a_key_that_comes_later_does_not_disturb_the_version(enter, record, reservation):
    await record((reservation(1), b"one"))
    [later] = await enter(reservation(1, keyid="later"))
    assert (1, None) == (later.leaf.index, later.signature)
    assert [b"one"] == [recorded.signature for recorded in await enter(reservation(1))]


async def test_refused_batch_leaves_no_leaf(enter, refused, reservation):
    await enter(reservation(1))
    await refused(reservation(2), reservation(1, "y"))
    [recorded] = await enter(reservation(2))
    assert 1 == recorded.leaf.index


@pytest.mark.parametrize("synced", [True, False])
async def test_signatures_are_there_at_once_however_durable(record, reserve, reservation, synced):
    await record((reservation(1), b"one"), synced=synced)
    assert [b"one"] == await reserve(reservation(1))


async def test_concurrent_batches_are_decided_one_by_one(enter, reservation):
    """They may share a durable write; what is refused of one concerns no other."""
    batches = [[reservation(number + 1, role="bins-0"), reservation(1, role=f"bins-{number}a")] for number in range(6)]
    spoilt = [[reservation(2, role="bins-9"), reservation(1, "y", role="bins-9")] for _ in range(6)]
    mixed = [batch for pair in zip(batches, spoilt, strict=True) for batch in pair]
    outcomes = await asyncio.gather(*(enter(*batch) for batch in mixed), return_exceptions=True)
    good, bad = outcomes[::2], outcomes[1::2]
    assert [RefusedError] * 6 == [type(outcome) for outcome in bad]
    assert list(range(12)) == sorted(recorded.leaf.index for outcome in good for recorded in outcome)


async def test_empty_batches_change_nothing(ledger, reserve, record):
    assert [] == await reserve()
    assert [] == await record()
    assert [] == await ledger.preview([], max_version_jump=JUMP)


async def test_batch_of_thousands_is_one_decision(ledger, reserve, record, reservation):
    """The first publication signs every bin at once."""
    many = [reservation(1, str(number), role=f"bins-{number:04x}") for number in range(2500)]
    assert [None] * 2500 == await reserve(*many)
    signatures = [str(number).encode() for number in range(2500)]
    assert signatures == await record(*zip(many, signatures, strict=True))
    assert signatures == await reserve(*many)
    assert 2500 == len(await ledger.floors(EPOCH))


async def test_of_two_payloads_at_the_same_moment_one_is_refused(reserve, reservation):
    contents = [str(number) for number in range(8)]
    outcomes = await asyncio.gather(*(reserve(reservation(1, content)) for content in contents), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, RefusedError)]
    assert 1 == outcomes.count([None])
    assert [Reason.VERSION_EQUIVOCATION] * 7 == [error.reason for error in refused]


async def test_what_was_signed_may_be_named_however_far_it_has_come(reserve, refused, reservation):
    """The bound is on what nobody has signed: a bin that took many steps between two snapshots is no fast-forward."""
    await reserve(reservation(1), reservation(1, role="snapshot", meta={"bins-0": 1}))
    for version in (10, 20, 30):
        await reserve(reservation(version))
    await reserve(reservation(2, role="snapshot", meta={"bins-0": 30}))
    assert (Reason.VERSION_JUMP, "0") == await refused(reservation(3, role="snapshot", meta={"bins-0": 41}))


async def test_naming_again_and_again_leads_no_farther_than_once(reserve, refused, reservation):
    """Otherwise a snapshot could come to name a version that nobody can ever sign."""
    await reserve(reservation(1))
    await reserve(reservation(1, role="snapshot", meta={"bins-0": 11}))
    assert (Reason.VERSION_JUMP, "0") == await refused(reservation(2, role="snapshot", meta={"bins-0": 12}))


async def test_second_key_for_a_version_and_a_new_version_share_a_batch(reserve, record, reservation):
    """The row of the one refers to an entry that is there, the row of the other to one that is not yet."""
    await record((reservation(1), b"first"))
    assert [None, None] == await reserve(reservation(1, keyid="other"), reservation(2))
    assert [b"first", None] == await reserve(reservation(1), reservation(1, keyid="other"))
