"""Both forms of a delegation to hash bins, and what is none of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Targets

from wharfinger_daemon.bin_delegation import BinDelegation, DelegationForm, even_bin_delegation, read_bin_delegation
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.bins import HashBins

BY_PREFIXES = DelegationForm.PATH_HASH_PREFIXES
KEY = CryptoSigner.generate_ecdsa().public_key
KEYS = {KEY.keyid: KEY}

Roles = dict[str, DelegatedRole]


def delegations(bit_length: int, form: DelegationForm = BY_PREFIXES) -> Delegations:
    return HashBins(bit_length, form=form).delegation(KEYS, 1).delegations(KEYS)


@pytest.mark.parametrize("form", list(DelegationForm))
@pytest.mark.parametrize("bit_length", [1, 3, 4, 5, 8, 9])
def test_what_was_written_is_read_again_from_the_file(form: DelegationForm, bit_length: int) -> None:
    written = Targets(delegations=delegations(bit_length, form))
    read = read_bin_delegation(Targets.from_dict(written.to_dict()).delegations)
    assert BinDelegation(form, bit_length, "bins", (KEY.keyid,), 1) == read
    assert HashBins(bit_length, form=form) == HashBins.delegated(read)


@given(st.integers(1, 9), st.text(st.characters(codec="ascii"), min_size=1))
def test_client_looks_for_a_path_in_one_bin_which_is_ours(bit_length: int, path: str) -> None:
    bins = HashBins(bit_length, form=BY_PREFIXES)
    found = bins.delegation(KEYS, 1).delegations(KEYS).get_roles_for_target(path)
    assert [bins.role_for(path)] == [role for role, _ in found]


def test_bins_are_called_alike_in_both_forms() -> None:
    named = [role.name for role in HashBins(5, form=BY_PREFIXES).delegation(KEYS, 1).roles()]
    assert list(HashBins(5).roles()) == named


def test_each_of_16384_bins_has_four_prefixes_of_four_digits() -> None:
    """PEP 458's table: 65,536 prefixes of length 4."""
    roles = list(HashBins(14, form=BY_PREFIXES).delegation(KEYS, 1).roles())
    assert ["fffc", "fffd", "fffe", "ffff"] == roles[-1].path_hash_prefixes
    assert [f"{prefix:04x}" for prefix in range(65536)] == [one for role in roles for one in role.path_hash_prefixes]


def test_more_bins_than_clients_can_read_the_delegation_of_are_refused() -> None:
    assert HashBins(15).number == 32768
    with pytest.raises(StartupError, match="from 2 to 16384") as refused:
        HashBins(15, form=BY_PREFIXES)
    assert Reason.CONFIGURATION_INVALID == refused.value.reason


@pytest.mark.parametrize("none", [None, Delegations({}, {})], ids=["no delegations", "no roles"])
def test_no_delegation_leads_to_no_bins(none: Delegations | None) -> None:
    assert read_bin_delegation(none) is None


def test_delegation_to_the_intermediate_role_leads_to_no_bins() -> None:
    role = DelegatedRole("bins", [], 1, False, path_hash_prefixes=["0", "8"])
    assert read_bin_delegation(Delegations({}, {"bins": role})) is None


def _swap(roles: Roles) -> None:
    roles["bins-2"] = roles.pop("bins-2")


def _rename(roles: Roles) -> None:
    roles["bins-1"].name = "bins-01"


def _lose(roles: Roles) -> None:
    del roles["bins-3"]


def _overlap(roles: Roles) -> None:
    roles["bins-1"].path_hash_prefixes = ["3", "4", "5", "6", "7"]


def _leave_a_gap(roles: Roles) -> None:
    roles["bins-3"].path_hash_prefixes = ["c", "d", "e"]


def _key(roles: Roles) -> None:
    roles["bins-3"].keyids = ["0" * 64]


def _threshold(roles: Roles) -> None:
    roles["bins-3"].threshold = 2


def _terminate(roles: Roles) -> None:
    roles["bins-3"].terminating = True


def _add(roles: Roles) -> None:
    roles["extra"] = DelegatedRole("extra", [], 1, False, paths=["*"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_swap, "'bins-3' stands where the bin 'bins-2' belongs"),
        (_rename, "'bins-01' stands where"),
        (_lose, "there are 3 roles"),
        (_add, "there are 5 roles"),
        (_overlap, "'bins-1' does not have the path_hash_prefixes 4, 5, 6, 7"),
        (_leave_a_gap, "'bins-3' does not have"),
        (_key, "'bins-3' has other keys"),
        (_threshold, "'bins-3' has other keys, or another threshold"),
        (_terminate, "'bins-3' has paths, is terminating"),
    ],
)
def test_bins_that_are_not_all_alike_are_refused(change: Callable[[Roles], None], told: str) -> None:
    uneven = delegations(2)
    assert uneven.roles is not None
    change(uneven.roles)
    with pytest.raises(ValueError, match=told):
        read_bin_delegation(uneven)
    assert even_bin_delegation(uneven) is None
