"""Expiry ceilings, version jumps and rates, by type of role and by role, as the service applies them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from wharfinger_daemon.errors import (
    DeadlineError,
    InvalidRequestError,
    RateLimitedError,
    Reason,
    RefusedError,
    WharfingerError,
)
from wharfinger_daemon.signing.model import (
    Caller,
    ExpiryCeilings,
    Rate,
    RoleType,
    SigningGrant,
    SigningPolicy,
    VersionJumps,
)

LIMITED = Caller("warehouse", (SigningGrant(("pypi",), ("*",)),), Rate(1, 1))


def test_a_roles_own_ceiling_stands_in_place_of_that_of_its_type():
    short, long = timedelta(hours=1), timedelta(hours=100)
    ceilings = ExpiryCeilings(by_role=(("bins-0*", short), ("snap*", long)))
    assert short == ceilings.of(RoleType.BINS, "bins-0a")
    assert ceilings.bins == ceilings.of(RoleType.BINS, "bins-1a")
    assert long == ceilings.of(RoleType.SNAPSHOT, "snapshot")


def test_of_several_ceilings_the_lowest_counts():
    """So that their order in a file cannot matter."""
    pair = (("bins-*", timedelta(hours=3)), ("bins-0", timedelta(hours=5)))
    for by_role in (pair, pair[::-1]):
        assert timedelta(hours=3) == ExpiryCeilings(by_role=by_role).of(RoleType.BINS, "bins-0")


def test_without_exceptions_roles_are_not_even_looked_at():
    def roles():
        raise AssertionError
        yield

    assert {} == VersionJumps().exceptions(roles())


def test_jumps_are_bounded_by_role_or_else_by_type():
    jumps = VersionJumps(((RoleType.BINS, 5), (RoleType.SNAPSHOT, 6)), (("bins-0*", 7), ("bins-*0", 8)))
    roles = [
        ("bins-00", RoleType.BINS),
        ("bins-10", RoleType.BINS),
        ("bins-11", RoleType.BINS),
        ("snapshot", RoleType.SNAPSHOT),
        ("timestamp", RoleType.TIMESTAMP),
    ]
    assert {"bins-00": 7, "bins-10": 8, "bins-11": 5, "snapshot": 6} == jumps.exceptions(roles)


async def test_an_expiry_beyond_the_ceiling_of_the_role_is_refused(bench_of, maker):
    ceilings = ExpiryCeilings(by_role=(("bins-0", timedelta(hours=1)),))
    bench = await bench_of(maker, policy=SigningPolicy(expiry_ceilings=ceilings))
    await bench.sign(bench.item(maker.bin("bins-1", expires=maker.expires(hours=2)), "bins-1"))
    with pytest.raises(InvalidRequestError) as caught:
        await bench.sign(bench.item(maker.bin("bins-0", expires=maker.expires(hours=2)), "bins-0"))
    assert Reason.EXPIRY_BEYOND_CEILING == caught.value.reason


@pytest.mark.parametrize(
    "jumps",
    [VersionJumps(by_type=((RoleType.BINS, 2),)), VersionJumps(by_role=(("bins-0", 2),))],
    ids=["type", "role"],
)
async def test_a_jump_beyond_the_bound_of_the_role_is_refused(bench_of, maker, jumps):
    bench = await bench_of(maker, policy=SigningPolicy(version_jumps=jumps))
    await bench.sign(bench.item(maker.bin(version=2), "bins-0"))
    with pytest.raises(RefusedError) as caught:
        await bench.sign(bench.item(maker.bin(version=5), "bins-0"))
    assert Reason.VERSION_JUMP == caught.value.reason
    assert "more than 2 above 2" in caught.value.message


async def test_a_snapshot_may_not_name_a_role_farther_than_that_role_may_jump(bench_of, maker):
    """Else the bin could never follow what the snapshot promised."""
    policy = SigningPolicy(version_jumps=VersionJumps(by_type=((RoleType.BINS, 2),)))
    bench = await bench_of(maker, policy=policy)
    with pytest.raises(RefusedError) as caught:
        await bench.sign(bench.item(maker.snapshot(bins_0=3)))
    assert (Reason.VERSION_JUMP, "bins-0") == (caught.value.reason, caught.value.details["named_role"])
    await bench.sign(bench.item(maker.snapshot(bins_0=2)))


async def test_a_bound_may_be_wider_than_the_common_one(bench_of, maker):
    policy = SigningPolicy(max_version_jump=1, version_jumps=VersionJumps(by_role=(("timestamp", 50),)))
    bench = await bench_of(maker, policy=policy)
    await bench.sign(bench.item(maker.timestamp(version=50)))
    with pytest.raises(RefusedError):
        await bench.sign(bench.item(maker.snapshot(version=2)))


async def test_who_has_had_the_rate_is_refused_before_the_ledger(bench):
    await bench.sign(bench.item(bench.maker.bin(), "bins-0"), caller=LIMITED)
    with pytest.raises(RateLimitedError) as caught:
        await bench.sign(bench.item(bench.maker.bin("bins-1"), "bins-1"), caller=LIMITED)
    assert (Reason.RATE_LIMITED, 1) == (caught.value.reason, caught.value.retry_after_seconds)
    assert 1 == bench.reservations()
    bench.maker.clock.advance(timedelta(seconds=1))
    await bench.sign(bench.item(bench.maker.bin("bins-1"), "bins-1"), caller=LIMITED)


async def test_what_is_refused_for_another_reason_uses_up_no_rate(bench):
    with pytest.raises(InvalidRequestError):
        await bench.sign(bench.item(b"garbage", "bins-0"), caller=LIMITED)
    await bench.sign(bench.item(bench.maker.bin(), "bins-0"), caller=LIMITED)


async def test_lint_uses_up_no_rate_and_counts_within_a_batch(bench):
    items = [bench.item(bench.maker.bin(role), role) for role in ("bins-0", "bins-1")]
    for _ in range(3):
        first, second = await bench.lint(*items, caller=LIMITED)
        assert ("", Reason.RATE_LIMITED, "bins-1", 1) == (first.reason, second.reason, second.role, second.version)
    await bench.sign(items[0], caller=LIMITED)


async def test_the_publisher_has_no_rate(bench):
    """Its bound is the rate of changes; held back, it could not renew what expires."""
    await bench.sign_prepared(*(bench.prepared(bench.maker.bin(role), role) for role in ("bins-0", "bins-1")))


async def test_too_little_time_is_refused_before_the_ledger(bench_of, maker):
    bench = await bench_of(maker, policy=SigningPolicy(min_seconds=5))
    with pytest.raises(DeadlineError) as caught:
        await bench.sign(bench.item(maker.snapshot()), timeout_seconds=4)
    assert Reason.DEADLINE_TOO_SHORT == caught.value.reason
    assert (0, []) == (bench.reservations(), bench.keys.batches)


async def test_a_refusal_is_told_with_caller_role_and_version(bench):
    maker = bench.maker
    nobody = Caller("nobody", ())
    for items, caller in (
        ([bench.item(maker.bin(version=9), "bins-0")], nobody),
        ([bench.item(maker.snapshot()), bench.item(b"garbage", "bins-1")], bench.caller),
        ([bench.item(maker.snapshot(), "x" * 1000, repository="other" * 100)], bench.caller),
        ([bench.item(maker.bin(), "elsewhere")], bench.caller),
        ([], bench.caller),
    ):
        with pytest.raises(WharfingerError):
            await bench.sign(*items, caller=caller)
    told = [
        (one.reason, one.caller, one.repository, one.role, one.role_type, one.version)
        for one in bench.observer.refusals
    ]
    assert [
        (Reason.REPOSITORY_NOT_GRANTED, "nobody", "pypi", "bins-0", RoleType.BINS, 9),
        (Reason.NOT_JSON, "warehouse", "pypi", "bins-1", RoleType.BINS, 0),
        (Reason.UNKNOWN_REPOSITORY, "warehouse", ("other" * 100)[:255], "x" * 255, None, 0),
        (Reason.UNKNOWN_ROLE, "warehouse", "pypi", "elsewhere", None, 1),
        (Reason.EMPTY_BATCH, "warehouse", "", "", None, 0),
    ] == told


async def test_a_refusal_of_the_publisher_is_told_as_the_publishers(bench):
    item = bench.prepared(bench.maker.bin(expires=bench.maker.expires(days=9)), "bins-0")
    with pytest.raises(InvalidRequestError):
        await bench.sign_prepared(item)
    [refusal] = bench.observer.refusals
    assert ("publisher", "bins-0", RoleType.BINS) == (refusal.caller, refusal.role, refusal.role_type)
