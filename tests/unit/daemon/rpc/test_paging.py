"""Pages of short lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.rpc.paging import page_of


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_all_pages_together_are_the_list(items: list[int], size: int) -> None:
    collected: list[int] = []
    token = ""
    while True:
        page, token = page_of(items, size, token)
        assert len(page) <= size
        collected += page
        if not token:
            break
    assert items == collected


@pytest.mark.parametrize("token", ["x", "-1", "99", "１"])
def test_a_token_that_was_not_given_out_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        page_of([1, 2], 1, token)
    assert Reason.PAGE_TOKEN_INVALID == caught.value.reason


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        page_of([1], -1, "")
