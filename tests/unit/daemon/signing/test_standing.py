"""What holds at the moment decides which key signs, and whether anything is signed at all."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import SSlibKey

from wharfinger_daemon.errors import InvalidRequestError, NotFoundError, Reason, RefusedError
from wharfinger_daemon.signing.standing import KeyState, Standing


@pytest.fixture
async def two_keys(maker, bench_of, sign_metadata):
    """A repository whose bins two held keys may sign."""
    second = ec.generate_private_key(ec.SECP256R1())
    keys = [maker.online_key, SSlibKey.from_crypto(second.public_key())]
    maker.source.put(sign_metadata(maker.bins(keys=keys), maker.bins_signer), "bins")
    bench = await bench_of(maker, private_keys=[maker.online, second])
    return bench, *(key.keyid for key in keys)


def states(bench, **by_keyid):
    bench.standing.set_key_states("pypi", by_keyid)


async def test_without_a_life_of_its_own_one_of_two_keys_must_be_named(two_keys):
    bench, first, _ = two_keys
    item = bench.maker.bin()
    with pytest.raises(InvalidRequestError) as caught:
        await bench.sign(bench.item(item, "bins-0"))
    assert Reason.KEYID_REQUIRED == caught.value.reason
    [signature] = await bench.sign(bench.item(item, "bins-0", keyid=first))
    assert first == signature.keyid


@pytest.mark.parametrize("other", [KeyState.GENERATED, KeyState.PUBLISHED, KeyState.RETIRING])
async def test_active_key_signs_where_none_is_named(two_keys, other):
    bench, first, second = two_keys
    states(bench, **{first: other, second: KeyState.ACTIVE})
    [signature] = await bench.sign(bench.item(bench.maker.bin(), "bins-0"))
    assert second == signature.keyid


@pytest.mark.parametrize(
    ("state", "signs"),
    [
        (KeyState.GENERATED, False),
        (KeyState.PUBLISHED, False),
        (KeyState.ACTIVE, True),
        (KeyState.RETIRING, True),
        (KeyState.DESTROYED, False),
        (None, False),
    ],
)
async def test_named_key_signs_while_it_is_active_or_retiring(two_keys, state, signs):
    bench, first, second = two_keys
    named = {} if state is None else {first: state}
    states(bench, **{second: KeyState.PUBLISHED}, **named)
    item = bench.item(bench.maker.bin(), "bins-0", keyid=first)
    [linted] = await bench.lint(item)
    assert ("" if signs else Reason.KEY_NOT_ACTIVE) == linted.reason
    if signs:
        assert first == (await bench.sign(item))[0].keyid
        return
    with pytest.raises(RefusedError) as caught:
        await bench.sign(item)
    assert Reason.KEY_NOT_ACTIVE == caught.value.reason


async def test_line_without_an_active_key_signs_nothing(two_keys):
    bench, first, second = two_keys
    states(bench, **{first: KeyState.RETIRING, second: KeyState.PUBLISHED})
    with pytest.raises(RefusedError) as caught:
        await bench.sign(bench.item(bench.maker.bin(), "bins-0"))
    assert Reason.KEY_NOT_ACTIVE == caught.value.reason
    assert f"{first} is retiring" in caught.value.message


async def test_suspended_repository_signs_nothing_for_anybody_until_it_is_resumed(bench):
    item, prepared = bench.item(bench.maker.timestamp()), bench.prepared(bench.maker.timestamp(), "timestamp")
    bench.standing.suspend("pypi", "Somebody saw a strange upload.")
    for signing in (bench.sign(item), bench.sign_prepared(prepared)):
        with pytest.raises(RefusedError) as caught:
            await signing
        assert Reason.SIGNING_SUSPENDED == caught.value.reason
        assert "Somebody saw a strange upload." in caught.value.message
    [linted] = await bench.lint(item)
    assert Reason.SIGNING_SUSPENDED == linted.reason
    assert 0 == bench.reservations()
    bench.standing.resume("pypi")
    assert 1 == len(await bench.sign(item))


async def test_key_that_is_generated_later_can_sign_once_the_token_was_asked_again(two_keys):
    bench, _, second = two_keys
    late = bench.keys._keys.popitem()
    item = bench.item(bench.maker.bin(), "bins-0", keyid=second)
    with pytest.raises(RefusedError) as caught:
        await bench.sign(item)
    assert Reason.KEY_NOT_HELD == caught.value.reason
    bench.keys._keys.update([late])
    assert 2 == len(await bench.service.refresh_held_keys())
    assert second == (await bench.sign(item))[0].keyid


async def test_newer_metadata_counts_from_the_next_request_on(bench, maker, sign_metadata):
    stranger = SSlibKey.from_crypto(ec.generate_private_key(ec.SECP256R1()).public_key())
    maker.source.put(sign_metadata(maker.bins(keys=[stranger]), maker.bins_signer), "bins")
    bench.standing.trust(await maker.load())
    with pytest.raises(RefusedError) as caught:
        await bench.sign(bench.item(maker.bin(), "bins-0"))
    assert Reason.KEY_NOT_HELD == caught.value.reason


def test_moment_that_was_taken_does_not_change():
    standing = Standing()
    before = standing.now
    standing.suspend("pypi", "why")
    standing.hold(frozenset({b"key"}))
    assert ({}, frozenset()) == (before.suspended, before.held)
    with pytest.raises(NotFoundError):
        before.repository("pypi")


def test_whoever_watches_is_told_when_the_states_of_keys_have_changed():
    standing, seen = Standing(), []
    standing.watch(lambda: seen.append(standing.now.key_states))
    standing.set_key_states("pypi", {"key": KeyState.ACTIVE})
    standing.suspend("pypi", "for a test.")
    assert [{"pypi": {"key": KeyState.ACTIVE}}] == seen


async def test_the_key_that_would_sign_can_be_asked_for_also_while_nothing_is_signed(two_keys):
    bench, first, second = two_keys
    states(bench, **{first: KeyState.RETIRING, second: KeyState.ACTIVE})
    bench.standing.suspend("pypi", "for a test.")
    assert second == await bench.service.key_for("pypi", "bins-0")
    states(bench, **{first: KeyState.RETIRING, second: KeyState.RETIRING})
    with pytest.raises(RefusedError) as caught:
        await bench.service.key_for("pypi", "bins-0")
    assert Reason.KEY_NOT_ACTIVE == caught.value.reason
