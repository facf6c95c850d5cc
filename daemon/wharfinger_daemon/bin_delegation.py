"""How the offline metadata delegates to hash bins, in either of the two forms that TUF clients know.

    succinct              ``succinct_roles`` (TAP 15): a few bytes say it all
    path_hash_prefixes    a role for each bin, with the prefixes of its hashes (TUF specification 4.5), for clients that
                          do not know TAP 15; PEP 458 was written for it

Both assign the same paths to bins of the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, Role, SuccinctRoles

_BIN = re.compile(r"([^/]+)-[0-9a-f]+")


class DelegationForm(StrEnum):
    """Which of the two forms. The value is its name in a ceremony file."""

    SUCCINCT = "succinct"
    PATH_HASH_PREFIXES = "path_hash_prefixes"


@dataclass(frozen=True)
class BinDelegation:
    """What a delegation to hash bins says.

    Attributes:
        bit_length: there are 2 to the power of this many bins.
        prefix: bins are called ``PREFIX-`` and their index in hexadecimal, padded with zeros.
        keyids: of the keys that sign each of them.
    """

    form: DelegationForm
    bit_length: int
    prefix: str
    keyids: tuple[str, ...]
    threshold: int

    @property
    def role(self) -> Role:
        """Who signs, the same for all bins."""
        return Role(list(self.keyids), self.threshold)

    def delegations(self, keys: Mapping[str, Key]) -> Delegations:
        """As TUF metadata, with these keys."""
        if self.form is DelegationForm.SUCCINCT:
            succinct = SuccinctRoles(list(self.keyids), self.threshold, self.bit_length, self.prefix)
            return Delegations(dict(keys), succinct_roles=succinct)
        return Delegations(dict(keys), {role.name: role for role in self.roles()})

    def roles(self) -> Iterator[DelegatedRole]:
        """The bins in the order of their index, with ``path_hash_prefixes``."""
        digits = (self.bit_length + 3) // 4
        each = 1 << (4 * digits - self.bit_length)
        for index in range(1 << self.bit_length):
            prefixes = [f"{prefix:0{digits}x}" for prefix in range(index * each, (index + 1) * each)]
            yield DelegatedRole(
                f"{self.prefix}-{index:0{digits}x}",
                list(self.keyids),
                self.threshold,
                terminating=False,
                path_hash_prefixes=prefixes,
            )


def read_bin_delegation(delegations: Delegations | None) -> BinDelegation | None:
    """What a delegation says of hash bins; None if it does not lead to any.

    Whether there can be so many bins, or of such a name, is not checked.

    Raises:
        ValueError: roles that are called like bins do not divide the hashes evenly and in order, or differ in more
            than their names and prefixes.
    """
    if delegations is None:
        return None
    if (succinct := delegations.succinct_roles) is not None:
        return BinDelegation(
            DelegationForm.SUCCINCT,
            succinct.bit_length,
            succinct.name_prefix,
            tuple(succinct.keyids),
            succinct.threshold,
        )
    roles = list((delegations.roles or {}).values())
    match = next(filter(None, (_BIN.fullmatch(role.name) for role in roles)), None)
    return None if match is None else _by_prefixes(roles, match[1])


def even_bin_delegation(delegations: Delegations | None) -> BinDelegation | None:
    """The same, for those to whom uneven bins are roles like any other: then None, too."""
    try:
        return read_bin_delegation(delegations)
    except ValueError:
        return None


def _by_prefixes(roles: Sequence[DelegatedRole], prefix: str) -> BinDelegation:
    number = len(roles)
    if number < 2 or number & (number - 1):
        raise ValueError(f"there are {number} roles beside '{roles[0].name}', and bins are 2, 4, 8 and so on")
    first = roles[0]
    said = BinDelegation(
        DelegationForm.PATH_HASH_PREFIXES, number.bit_length() - 1, prefix, tuple(first.keyids), first.threshold
    )
    for role, expected in zip(roles, said.roles(), strict=True):
        _require_as_expected(role, expected)
    return said


def _require_as_expected(role: DelegatedRole, expected: DelegatedRole) -> None:
    if role.name != expected.name:
        raise ValueError(f"the role {ascii(role.name)[:80]} stands where the bin '{expected.name}' belongs")
    if (role.keyids, role.threshold) != (expected.keyids, expected.threshold):
        raise ValueError(f"the bin '{role.name}' has other keys, or another threshold, than the first bin")
    if role.path_hash_prefixes != expected.path_hash_prefixes:
        raise ValueError(
            f"the bin '{role.name}' does not have the path_hash_prefixes {', '.join(expected.path_hash_prefixes or [])}"
        )
    if role != expected:
        raise ValueError(f"the bin '{role.name}' has paths, is terminating, or has unknown fields")
