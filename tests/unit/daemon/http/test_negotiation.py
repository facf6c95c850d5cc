"""Which encoding a client gets, and when its copy is the right one (RFC 9110, 12.5.3 and 13.1.2)."""

from __future__ import annotations

import pytest

from wharfinger_daemon.http.negotiation import has_copy, prefers_gzip


@pytest.mark.parametrize(
    ("accepted", "gzip"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.2", True),
        ("deflate, br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip; q=0.001", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity;q=0", False),
        ("identity;q=0, *", True),
        ("gzip;q=2", False),
        ("gzip;q=0.1234", False),
        ("gzip;q=", False),
        ("gzip;level=9", False),
        (",,;;,q=1", False),
        ("gzipped", False),
    ],
)
def test_gzip_goes_to_those_who_like_it_best_of_what_there_is(accepted: str | None, gzip: bool) -> None:
    assert gzip == prefers_gzip(accepted)


@pytest.mark.parametrize(
    ("held", "same"),
    [
        ([], False),
        (['"a"'], True),
        (['W/"a"'], True),
        (["*"], True),
        (['"b", "a"'], True),
        (['"b"', '"a"'], True),
        (['"b"'], False),
        (["a"], False),
        (['"a-gzip"'], False),
        ([""], False),
    ],
)
def test_a_copy_is_the_right_one_if_its_validator_is(held: list[str], same: bool) -> None:
    assert same == has_copy(held, '"a"')
