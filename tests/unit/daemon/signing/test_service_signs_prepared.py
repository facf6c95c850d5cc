"""The publisher in this process sends facts with its bytes; they are believed, and checked at random."""

from dataclasses import replace
from datetime import timedelta

import pytest

from wharfinger_daemon.errors import CorruptStateError, InvalidRequestError, NotFoundError, Reason, RefusedError
from wharfinger_daemon.signing import service as service_module
from wharfinger_daemon.signing.model import PreparedItem, SigningPolicy


async def test_publication_is_signed_in_one_batch_each(bench):
    maker = bench.maker
    bins = [bench.prepared(maker.bin(f"bins-{number}"), f"bins-{number}") for number in range(4)]
    signatures = await bench.sign_prepared(*bins)
    signatures += await bench.sign_prepared(bench.prepared(maker.snapshot(), "snapshot"))
    signatures += await bench.sign_prepared(bench.prepared(maker.timestamp(), "timestamp"))
    assert [4, 1, 1] == bench.keys.batches
    assert ["bins-0", "bins-1", "bins-2", "bins-3", "snapshot", "timestamp"] == [one.role for one in signatures]
    assert await bench.sign(bench.item(bins[0].signed, "bins-0")), "a caller gets the publisher's signature"


async def test_batch_may_be_larger_than_a_callers(bench_of, maker):
    bench = await bench_of(maker, policy=SigningPolicy(max_batch=1))
    bins = [bench.prepared(maker.bin(f"bins-{number}"), f"bins-{number}") for number in range(4)]
    assert 4 == len(await bench.sign_prepared(*bins))


async def test_nothing_prepared_is_nothing_signed(bench):
    assert [] == await bench.sign_prepared()
    assert [] == bench.keys.batches


@pytest.mark.parametrize("role", ["bins-0", "snapshot", "timestamp"])
@pytest.mark.parametrize("what", ["version", "expires", "spec_version"])
async def test_bytes_that_say_something_else_than_their_facts_are_not_signed(bench, role, what):
    maker = bench.maker
    metadata = {"bins-0": maker.bin, "snapshot": maker.snapshot, "timestamp": maker.timestamp}[role]()
    changed = {"version": 2, "expires": maker.expires(hours=1), "spec_version": "1.0.0"}[what]
    with pytest.raises(CorruptStateError) as caught:
        await bench.sign_prepared(bench.prepared(metadata, role, **{what: changed}))
    assert (Reason.FACTS_MISMATCH, "0") == (caught.value.reason, caught.value.details["item"])
    assert (0, []) == (bench.reservations(), bench.keys.batches)


async def test_snapshot_cannot_hide_what_it_names(bench):
    """Its facts decide what the ledger's floors become."""
    with pytest.raises(CorruptStateError):
        await bench.sign_prepared(bench.prepared(bench.maker.snapshot(bins_0=1), "snapshot", meta={"targets": 1}))


async def test_one_bin_chosen_at_random_is_read_in_full(bench, monkeypatch, path_of):
    """A batch with one wrong bin passes until the choice falls on it."""
    maker = bench.maker
    good = bench.prepared(maker.bin("bins-0"), "bins-0")
    bad = bench.prepared(maker.bin("bins-1", paths=[path_of("bins-2")]), "bins-1")
    monkeypatch.setattr(service_module, "_random", Always(1))
    with pytest.raises(InvalidRequestError) as caught:
        await bench.sign_prepared(good, bad)
    assert (Reason.TARGET_OUTSIDE_BIN, "1") == (caught.value.reason, caught.value.details["item"])
    monkeypatch.setattr(service_module, "_random", Always(0))
    assert 2 == len(await bench.sign_prepared(good, bad))


async def test_publisher_is_bound_by_ceiling_ledger_and_authority(bench, path_of):
    maker = bench.maker
    await bench.sign_prepared(bench.prepared(maker.timestamp(2), "timestamp"))
    late = bench.prepared(maker.bin("bins-0", expires=maker.expires(hours=49)), "bins-0")
    with pytest.raises(InvalidRequestError) as ceiling:
        await bench.sign_prepared(late)
    with pytest.raises(RefusedError) as rollback:
        await bench.sign_prepared(bench.prepared(maker.timestamp(1), "timestamp"))
    with pytest.raises(RefusedError) as offline:
        await bench.sign_prepared(bench.prepared(maker.targets(2), "targets"))
    reasons = [caught.value.reason for caught in (ceiling, rollback, offline)]
    assert [Reason.EXPIRY_BEYOND_CEILING, Reason.VERSION_ROLLBACK, Reason.KEY_NOT_HELD] == reasons
    assert reasons == bench.observer.reasons


async def test_bytes_whose_digest_is_another_are_not_signed(bench):
    item = bench.prepared(bench.maker.snapshot(), "snapshot")
    with pytest.raises(CorruptStateError) as caught:
        await bench.sign_prepared(replace(item, digest=b"0" * 32))
    assert Reason.FACTS_MISMATCH == caught.value.reason


async def test_unknown_repository_is_refused(bench):
    item = bench.prepared(bench.maker.snapshot(), "snapshot")
    with pytest.raises(NotFoundError):
        await bench.sign_prepared(PreparedItem("other", item.facts, item.signed, item.digest))


async def test_publication_that_was_cut_off_is_signed_again_with_the_same_signatures(bench):
    bins = [bench.prepared(bench.maker.bin(f"bins-{number}"), f"bins-{number}") for number in range(4)]
    first = await bench.sign_prepared(*bins)
    bench.maker.clock.advance(timedelta(days=2))
    second = await bench.sign_prepared(*bins)
    assert [one.signature for one in first] == [one.signature for one in second]
    assert all(one.replayed for one in second)


class Always:
    """Chooses the same place each time."""

    def __init__(self, place):
        self._place = place

    def choice(self, candidates):
        return candidates[self._place]
