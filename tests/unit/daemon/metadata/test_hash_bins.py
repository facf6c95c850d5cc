"""Our bins are TAP 15's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import SuccinctRoles
from tuf.ngclient import UpdaterConfig

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.bins import MAX_BIT_LENGTH, HashBins
from wharfinger_daemon.metadata.documents import DocumentSignature, RoleState, file_bytes, snapshot_document


@given(st.integers(1, MAX_BIT_LENGTH), st.text(st.characters(codec="ascii"), min_size=1))
def test_a_path_belongs_to_the_bin_where_python_tuf_looks(bit_length: int, path: str) -> None:
    theirs = SuccinctRoles(["key"], 1, bit_length, "bins")
    assert theirs.get_role_for_target(path) == HashBins(bit_length).role_for(path)


@pytest.mark.parametrize("bit_length", [1, 4, 5, 8, 9])
def test_bins_are_named_as_python_tuf_names_them(bit_length: int) -> None:
    bins = HashBins(bit_length)
    assert list(SuccinctRoles(["key"], 1, bit_length, "bins").get_roles()) == list(bins.roles())
    assert bins.number == len(list(bins.roles()))


@pytest.mark.parametrize("number", [2, 4, 16384, 32768])
def test_powers_of_two_are_accepted(number: int) -> None:
    assert number == HashBins.of_number(number).number


@pytest.mark.parametrize("number", [-2, 0, 1, 3, 1000, 65536, 131072])
def test_other_numbers_of_bins_are_refused(number: int) -> None:
    with pytest.raises(StartupError) as refused:
        HashBins.of_number(number)
    assert Reason.CONFIGURATION_INVALID == refused.value.reason


@pytest.mark.parametrize("prefix", ["", "../bins", "BINS", "a-b"])
def test_a_prefix_that_is_no_plain_word_is_refused(prefix: str) -> None:
    with pytest.raises(StartupError):
        HashBins(2, prefix)


@pytest.mark.parametrize("version", [1, 2**53])
def test_clients_take_the_snapshot_of_the_most_bins_whatever_their_versions(version: int) -> None:
    state = RoleState("snapshot", version, datetime(2030, 1, 1, tzinfo=UTC))
    snapshot = snapshot_document(state, dict.fromkeys(HashBins(MAX_BIT_LENGTH).roles(), version))
    file = file_bytes(snapshot, [DocumentSignature("0" * 64, bytes(512))])
    assert len(file) < UpdaterConfig().snapshot_max_length
