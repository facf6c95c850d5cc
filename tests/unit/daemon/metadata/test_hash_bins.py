"""Our bins are TAP 15's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import SuccinctRoles

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.bins import HashBins


@given(st.integers(1, 16), st.text(st.characters(codec="ascii"), min_size=1))
def test_a_path_belongs_to_the_bin_where_python_tuf_looks(bit_length: int, path: str) -> None:
    theirs = SuccinctRoles(["key"], 1, bit_length, "bins")
    assert theirs.get_role_for_target(path) == HashBins(bit_length).role_for(path)


@pytest.mark.parametrize("bit_length", [1, 4, 5, 8, 9])
def test_bins_are_named_as_python_tuf_names_them(bit_length: int) -> None:
    bins = HashBins(bit_length)
    assert list(SuccinctRoles(["key"], 1, bit_length, "bins").get_roles()) == list(bins.roles())
    assert bins.number == len(list(bins.roles()))


@pytest.mark.parametrize("number", [2, 4, 16384, 65536])
def test_powers_of_two_are_accepted(number: int) -> None:
    assert number == HashBins.of_number(number).number


@pytest.mark.parametrize("number", [-2, 0, 1, 3, 1000, 131072])
def test_other_numbers_of_bins_are_refused(number: int) -> None:
    with pytest.raises(StartupError) as refused:
        HashBins.of_number(number)
    assert Reason.CONFIGURATION_INVALID == refused.value.reason


@pytest.mark.parametrize("prefix", ["", "../bins", "BINS", "a-b"])
def test_a_prefix_that_is_no_plain_word_is_refused(prefix: str) -> None:
    with pytest.raises(StartupError):
        HashBins(2, prefix)
