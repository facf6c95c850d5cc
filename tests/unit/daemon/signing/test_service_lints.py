"""``lint`` says what ``sign`` would say, of every item, and changes nothing."""

import pytest

from wharfinger_daemon.errors import InvalidRequestError, Reason, WharfingerError
from wharfinger_daemon.signing.model import Caller, LintResult, SigningItem, SigningPolicy


async def test_accepted_item_names_key_role_and_version(bench):
    [result] = await bench.lint(bench.item(bench.maker.snapshot()))
    assert LintResult("", "", bench.maker.online_key.keyid, "snapshot", 1, already_signed=False) == result


async def test_nothing_is_written_and_the_token_not_asked(bench):
    await bench.lint(bench.item(bench.maker.snapshot()))
    assert (0, []) == (bench.reservations(), bench.keys.batches)


async def test_bytes_that_were_signed_are_known(bench):
    item = bench.item(bench.maker.snapshot())
    await bench.sign(item)
    [result] = await bench.lint(item)
    assert result.already_signed


async def test_every_item_is_reported_on(bench):
    maker = bench.maker
    results = await bench.lint(
        bench.item(b"garbage", "bins-3"),
        bench.item(maker.bin("bins-0"), "bins-0"),
        bench.item(maker.bin("bins-0", version=5), "bins-1"),
        bench.item(maker.bin("bins-0", expires=maker.expires(hours=1)), "bins-0"),
        bench.item(maker.bin("bins-2"), ""),
    )
    assert [
        (Reason.NOT_JSON, "bins-3", 0),
        ("", "bins-0", 1),
        (Reason.TARGET_OUTSIDE_BIN, "bins-1", 5),
        (Reason.VERSION_EQUIVOCATION, "bins-0", 1),
        (Reason.ROLE_REQUIRED, "", 1),
    ] == [(one.reason, one.role, one.version) for one in results]
    assert [bool(one.reason) for one in results] == [bool(one.message) for one in results]


@pytest.mark.parametrize(
    "broken",
    [
        SigningItem("other", "snapshot", b"{}"),
        SigningItem("pypi", "snapshot", b"garbage"),
        SigningItem("pypi", "snapshot", b'{"_type":"snapshot"}'),
        SigningItem("pypi", "snapshot", b'{"_type":"timestamp"}'),
    ],
    ids=lambda item: item.repository + repr(item.signed),
)
async def test_reason_is_the_same_as_that_of_sign(bench, broken):
    [result] = await bench.lint(broken)
    with pytest.raises(WharfingerError) as caught:
        await bench.sign(broken)
    assert (caught.value.reason, caught.value.message) == (result.reason, result.message)


async def test_grant_is_needed_for_each_item(bench):
    [result] = await bench.lint(bench.item(bench.maker.snapshot()), caller=Caller("nobody", ()))
    assert (Reason.REPOSITORY_NOT_GRANTED, "snapshot", 1) == (result.reason, result.role, result.version)


async def test_batch_has_the_bounds_of_sign(bench_of, maker):
    bench = await bench_of(maker, policy=SigningPolicy(max_batch=1))
    item = bench.item(maker.snapshot())
    with pytest.raises(InvalidRequestError):
        await bench.lint()
    with pytest.raises(InvalidRequestError):
        await bench.lint(item, item)
