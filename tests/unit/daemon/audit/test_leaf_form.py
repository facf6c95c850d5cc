"""A leaf has one form, and whatever is not in it is no leaf."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_daemon import canonical
from wharfinger_daemon.audit.leaf import Act, Leaf, read_leaf

AT = datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name not in {"act", "at", "caller"})


@given(
    st.sampled_from(Act),
    st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.text(max_size=30),
    st.dictionaries(NAMES, st.text(max_size=30) | st.integers(-(2**53), 2**53), max_size=4),
)
def test_leaf_is_canonical_json_and_is_read_again(
    act: Act, at: datetime, caller: str, details: dict[str, str | int]
) -> None:
    leaf = Leaf(act, at, caller, details)
    written = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert canonical.encode({"act": act.value, "at": written, "caller": caller, **details}) == leaf.encode()
    assert leaf == read_leaf(leaf.encode())


def test_time_is_written_in_utc_wherever_it_was_measured() -> None:
    east = AT.astimezone(timezone(timedelta(hours=9)))
    assert Leaf(Act.LOG_BEGUN, AT, "local").encode() == Leaf(Act.LOG_BEGUN, east, "local").encode()


def test_reference_of_a_leaf_is_its_index_and_the_hash_of_rfc_6962() -> None:
    leaf = Leaf(Act.SIGNATURE, AT, "warehouse", {"role": "timestamp"})
    assert (7, hashlib.sha256(b"\x00" + leaf.encode()).digest()) == (leaf.refer(7).index, leaf.refer(7).hash)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        b"1",
        b"{}",
        b'{"act":"signature","at":"2030-01-02T03:04:05.000006Z"}',
        b'{"act":"forgery","at":"2030-01-02T03:04:05.000006Z","caller":"local"}',
        b'{"act":"signature","at":"2030-01-02T03:04:05Z","caller":"local"}',
        b'{"act":"signature","at":5,"caller":"local"}',
    ],
)
def test_what_is_no_leaf_is_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="no leaf of the log"):
        read_leaf(encoded)


@pytest.mark.parametrize(
    "encoded",
    [
        b'{"act": "log-begun","at":"2030-01-02T03:04:05.000006Z","caller":"local"}',
        b'{"at":"2030-01-02T03:04:05.000006Z","act":"log-begun","caller":"local"}',
        b'{"act":"log-begun","act":"log-begun","at":"2030-01-02T03:04:05.000006Z","caller":"local"}',
        b'{"act":"log-begun","at":"2030-01-02T03:04:05.000006Z","caller":"\\u006cocal"}',
        b'{"act":"log-begun","at":"2030-01-02T03:04:05.000006Z","caller":"local"}\n',
        b'{"act":"log-begun","at":"2030-01-02T03:04:05.6Z","caller":"local"}',
    ],
)
def test_leaf_that_could_be_written_in_two_ways_is_refused_in_all_but_one(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="canonical"):
        read_leaf(encoded)
