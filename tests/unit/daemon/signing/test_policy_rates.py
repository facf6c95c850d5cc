"""How fast a caller may have signatures: by caller and by grant, without favour and without drift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.errors import InvalidRequestError, RateLimitedError, Reason
from wharfinger_daemon.signing.model import Caller, Rate, SigningGrant
from wharfinger_daemon.signing.rates import Rates

EVERYTHING = SigningGrant(("*",), ("*",))
BIN = ("pypi", "bins-0")
TIMESTAMP = ("pypi", "timestamp")
START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def rates(maker):
    return Rates(maker.clock)


def refused(rates, caller, *items):
    with pytest.raises(RateLimitedError) as caught:
        rates.take(caller, items)
    assert Reason.RATE_LIMITED == caught.value.reason
    assert caller.name == caught.value.details["caller"]
    return caught.value.retry_after_seconds


def test_without_a_rate_nothing_is_bounded(rates):
    for _ in range(1000):
        rates.take(Caller("free", (EVERYTHING,)), [BIN])


def test_a_burst_passes_and_then_the_rate_holds(rates, maker):
    caller = Caller("warehouse", (EVERYTHING,), Rate(2, 3))
    for _ in range(3):
        rates.take(caller, [BIN])
    assert 0.5 == refused(rates, caller, BIN)
    maker.clock.advance(timedelta(seconds=0.5))
    rates.take(caller, [BIN])
    refused(rates, caller, BIN)


def test_no_more_than_a_burst_is_saved_up(rates, maker):
    caller = Caller("warehouse", (EVERYTHING,), Rate(100, 2))
    maker.clock.advance(timedelta(days=1))
    rates.take(caller, [BIN, BIN])
    refused(rates, caller, BIN)


def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing(rates, maker):
    caller = Caller("warehouse", (EVERYTHING,), Rate(1, 1))
    rates.take(caller, [BIN])
    maker.clock.advance(timedelta(hours=-1))
    assert 1 == refused(rates, caller, BIN)
    maker.clock.advance(timedelta(seconds=1))
    refused(rates, caller, BIN)


def test_a_batch_passes_whole_or_takes_nothing(rates):
    caller = Caller("warehouse", (EVERYTHING,), Rate(1, 3))
    rates.take(caller, [BIN])
    refused(rates, caller, BIN, BIN, BIN)
    rates.take(caller, [BIN, BIN])


def test_a_batch_that_could_never_pass_is_not_told_to_come_back(rates):
    caller = Caller("warehouse", (EVERYTHING,), Rate(1, 2))
    with pytest.raises(InvalidRequestError) as caught:
        rates.take(caller, [BIN] * 3)
    assert Reason.BATCH_TOO_LARGE == caught.value.reason
    rates.take(caller, [BIN] * 2)


def test_callers_do_not_use_up_each_other(rates):
    first, second = (Caller(name, (EVERYTHING,), Rate(1, 1)) for name in ("first", "second"))
    rates.take(first, [BIN])
    rates.take(second, [BIN])
    refused(rates, first, BIN)


def test_a_grants_rate_holds_for_its_roles_alone(rates):
    narrow = SigningGrant(("pypi",), ("bins-*",), Rate(1, 1))
    caller = Caller("warehouse", (narrow, SigningGrant(("pypi",), ("timestamp",))))
    rates.take(caller, [BIN])
    refused(rates, caller, ("pypi", "bins-1"))
    rates.take(caller, [TIMESTAMP] * 10)


def test_a_broad_grant_does_not_widen_the_rate_of_a_narrow_one(rates):
    """Else a second table that allows more would silently lift the bound of the first."""
    caller = Caller("warehouse", (EVERYTHING, SigningGrant(("pypi",), ("timestamp",), Rate(1, 1))))
    rates.take(caller, [TIMESTAMP])
    refused(rates, caller, TIMESTAMP)
    rates.take(caller, [BIN])


def test_what_one_bucket_refuses_takes_nothing_from_another(rates, maker):
    grant = SigningGrant(("pypi",), ("timestamp",), Rate(0.001, 1))
    caller = Caller("warehouse", (EVERYTHING, grant), Rate(0.001, 2))
    rates.take(caller, [TIMESTAMP])
    assert 1000 == refused(rates, caller, TIMESTAMP)
    rates.take(caller, [BIN])
    refused(rates, caller, BIN)


def test_the_slowest_bucket_says_when_to_come_back(rates, maker):
    caller = Caller("warehouse", (SigningGrant(("*",), ("*",), Rate(10, 1)),), Rate(0.25, 1))
    rates.take(caller, [BIN])
    assert 4 == refused(rates, caller, BIN)


def test_asking_takes_nothing_and_counts_what_was_asked_before(rates):
    caller = Caller("warehouse", (EVERYTHING,), Rate(1, 2))
    for _ in range(3):
        asking = rates.asking(caller)
        answers = [asking.refusal(BIN) for _ in range(3)]
        assert [None, None, Reason.RATE_LIMITED] == [one and one.reason for one in answers]
    rates.take(caller, [BIN, BIN])
    refusal = rates.asking(caller).refusal(BIN)
    assert refusal is not None
    assert 1 == refusal.retry_after_seconds


def test_the_longest_wait_can_be_told(rates):
    caller = Caller("warehouse", (EVERYTHING,), Rate(1e-300, 1))
    rates.take(caller, [BIN])
    assert 315_576_000_000 == refused(rates, caller, BIN)


@given(
    st.floats(0.01, 1000),
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 5)), max_size=40),
)
def test_never_more_than_the_burst_and_what_the_time_gave_and_the_told_wait_suffices(per_second, burst, asked):
    clock = FixedClock(START)
    rates = Rates(clock)
    caller = Caller("warehouse", (EVERYTHING,), Rate(per_second, burst))
    given_out = 0
    for seconds, count in asked:
        clock.advance(timedelta(seconds=seconds))
        try:
            rates.take(caller, [BIN] * count)
        except InvalidRequestError:
            assert count > burst
            continue
        except RateLimitedError as error:
            # A clock counts microseconds, so the wait is as good as that.
            clock.advance(timedelta(seconds=error.retry_after_seconds, microseconds=1))
            rates.take(caller, [BIN] * count)
        given_out += count
        assert given_out <= burst + (clock.now() - START).total_seconds() * per_second + 1e-6
