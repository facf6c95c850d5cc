"""The lives of keys are kept with what the log says of them, or not at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.errors import CorruptStateError, Reason, RefusedError, UnavailableError
from wharfinger_daemon.keys.life_cycle import LineKey
from wharfinger_daemon.keys.records import Changes
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.keys import SqlKeyRecords

AT = datetime(2030, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
HERE, THERE = "a" * 64, "b" * 64


def key(keyid, state=KeyState.GENERATED, label="online-1", **changes):
    return LineKey(keyid, "online", state, label, b"der of " + keyid.encode(), "ecdsa", "scheme", AT, **changes)


def leaf(number):
    return Leaf(Act.KEY_PUBLISHED, AT, "security", {"number": number})


def writing(*keys, leaves=()):
    return lambda present: Changes(keys, tuple(leaves))


async def test_keys_come_back_as_they_were_written(kept):
    times = {
        f"{what}_at": AT + timedelta(days=number)
        for number, what in enumerate(("published", "activated", "retired", "destroyed"))
    }
    keys = {"k1": key("k1"), "k2": key("k2", KeyState.DESTROYED, **times)}
    assert keys == await kept.records.change(HERE, writing(*keys.values()))
    assert keys == await kept.records.all(HERE)
    assert {} == await kept.records.all(THERE)


async def test_decision_sees_what_is_there_and_changes_what_it_returns(kept):
    await kept.records.change(HERE, writing(key("k1"), key("k2")))
    seen = []

    def decide(keys):
        seen.append(dict(keys))
        return Changes((replace(keys["k1"], state=KeyState.PUBLISHED, published_at=AT),))

    after = await kept.records.change(HERE, decide)
    assert [{"k1": key("k1"), "k2": key("k2")}] == seen
    assert {"k1": KeyState.PUBLISHED, "k2": KeyState.GENERATED} == {keyid: one.state for keyid, one in after.items()}
    assert after == await kept.records.all(HERE)


async def test_same_key_in_two_repositories_has_two_lives(kept):
    await kept.records.change(HERE, writing(key("k1")))
    await kept.records.change(THERE, writing(key("k1", KeyState.ACTIVE)))
    assert KeyState.GENERATED is (await kept.records.all(HERE))["k1"].state
    assert KeyState.ACTIVE is (await kept.records.all(THERE))["k1"].state


async def test_change_is_logged_with_it(kept):
    await kept.records.change(HERE, writing(key("k1"), leaves=[leaf(1), leaf(2)]))
    await kept.records.change(HERE, writing(leaves=[leaf(3)]))
    assert [leaf(1), leaf(2), leaf(3)] == kept.leaves()


async def test_refused_change_leaves_neither_row_nor_leaf(kept):
    def refuse(keys):
        raise RefusedError("no", reason=Reason.KEY_STATE_INVALID)

    with pytest.raises(RefusedError):
        await kept.records.change(HERE, refuse)
    assert ({}, []) == (await kept.records.all(HERE), kept.leaves())


async def test_labels_of_all_repositories_count_for_ever(kept):
    await kept.records.change(HERE, writing(key("k1", KeyState.DESTROYED, "online-1")))
    await kept.records.change(THERE, writing(key("k2", label="online-2")))
    assert {"online-1", "online-2"} == await kept.records.labels()


async def test_roles_are_counted_by_the_key_of_their_newest_version(kept):
    kept.need(HERE, ["k1", "k1", "k2", ""])
    assert {"k1": 2, "k2": 1} == await kept.records.needed_by(HERE)
    assert {} == await kept.records.needed_by(THERE)


async def test_state_that_there_is_not_is_told(database):
    records = SqlKeyRecords(database, Journal(database))
    await records.change(HERE, writing(key("k1")))
    await database.run(lambda connection: connection.execute(text("UPDATE signing_keys SET state = 'lost'")))
    with pytest.raises(CorruptStateError):
        await records.all(HERE)


async def test_records_that_do_not_answer_say_so(kept):
    if hasattr(kept, "_database"):
        await kept._database.run(lambda connection: connection.execute(text("DROP TABLE signing_keys")))
    else:
        kept.records.available = False
    for asking in (kept.records.all(HERE), kept.records.labels(), kept.records.change(HERE, writing(key("k1")))):
        with pytest.raises(UnavailableError) as caught:
            await asking
        assert Reason.DATABASE_UNAVAILABLE == caught.value.reason
