"""What a verified delegator (root or targets metadata) says about the roles that it delegates to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Role, Root, SuccinctRoles, Targets

from wharfinger_daemon.bin_delegation import BinDelegation, even_bin_delegation
from wharfinger_daemon.signing.keys import AuthorisedKey, can_be_held
from wharfinger_daemon.signing.model import RoleType

INTERMEDIATE_BINS = "bins"

_INDEX = re.compile("[0-9a-f]{1,8}")


@dataclass(frozen=True)
class RoleAuthority:
    """Who may sign a role, or all bins of one delegation, and for which targets.

    Attributes:
        pattern: the role's name, or ``bins-*`` for all bins that one delegation leads to.
        keyids: all keys that the delegator lists, in its order.
        keys: those of them that a token could hold, by keyid.
        delegates: whether a target path may be listed by a role of this name.
    """

    pattern: str
    role_type: RoleType
    keyids: tuple[str, ...]
    keys: Mapping[str, AuthorisedKey]
    threshold: int
    delegates: Callable[[str, str], bool]


class RootAuthorities:
    """The four top-level roles, as a verified root has them.

    Raises:
        ValueError: a key does not load, or one key stands under two keyids.
    """

    def __init__(self, root: Root) -> None:
        self._by_role = {
            name: _authority(name, RoleType(name), role, root.keys, _everything) for name, role in root.roles.items()
        }

    def find(self, role: str) -> RoleAuthority | None:
        """The authority over a role, or None if it is not a top-level role."""
        return self._by_role.get(role)

    def __iter__(self) -> Iterator[RoleAuthority]:
        return iter(self._by_role.values())


class DelegatedAuthorities:
    """The roles that verified targets metadata delegates to.

    Raises:
        ValueError: a key does not load, or one key stands under two keyids.
    """

    def __init__(self, targets: Targets) -> None:
        self._by_role: dict[str, RoleAuthority] = {}
        self._bins: BinDelegation | None = None
        self._bins_authority: RoleAuthority | None = None
        delegations = targets.delegations
        if delegations is None:
            return
        keys = delegations.keys
        self._bins = even_bin_delegation(delegations)
        if self._bins is not None:
            # All bins have the same keys: 16,384 of them must not load these one by one.
            pattern = f"{self._bins.prefix}-*"
            self._bins_authority = _authority(pattern, RoleType.BINS, self._bins.role, keys, _by_bin(self._bins))
            return
        for role in (delegations.roles or {}).values():
            self._by_role[role.name] = _authority(role.name, _type_of(role), role, keys, _by_path(role))

    def find(self, role: str) -> RoleAuthority | None:
        """The authority over a role, or None if it is not delegated."""
        if self._bins is not None and _is_bin(self._bins, role):
            return self._bins_authority
        return self._by_role.get(role)

    def __iter__(self) -> Iterator[RoleAuthority]:
        yield from self._by_role.values()
        if self._bins_authority is not None:
            yield self._bins_authority


def _authority(
    pattern: str,
    role_type: RoleType,
    role: Role,
    keys: Mapping[str, Key],
    delegates: Callable[[str, str], bool],
) -> RoleAuthority:
    present = [keys[keyid] for keyid in role.keyids if keyid in keys]
    _require_distinct(pattern, present)
    loaded = {key.keyid: AuthorisedKey(key) for key in present if can_be_held(key)}
    return RoleAuthority(pattern, role_type, tuple(role.keyids), loaded, role.threshold, delegates)


def _require_distinct(role: str, keys: Iterable[Key]) -> None:
    # One key under two keyids would count twice towards the threshold (TUF specification 4.2.1, 5.3.4).
    seen: dict[str, str] = {}
    for key in keys:
        value = str(key.keyval.get("public")).strip()
        if value in seen:
            raise ValueError(f"role '{role}' lists one key under two keyids, {seen[value]} and {key.keyid}")
        seen[value] = key.keyid


def _type_of(role: DelegatedRole) -> RoleType:
    if role.path_hash_prefixes is not None and role.name != INTERMEDIATE_BINS:
        return RoleType.BINS
    return RoleType.TARGETS


def _is_bin(bins: BinDelegation, role: str) -> bool:
    # Only the one spelling of an index: with int() alone, 'FF', '+f' or 'f_f' would be numbers too, and such an alias
    # of a bin would have a ledger of its own.
    index = role.removeprefix(f"{bins.prefix}-")
    if index == role or _INDEX.fullmatch(index) is None:
        return False
    return len(index) == (bins.bit_length + 3) // 4 and int(index, 16) < 1 << bins.bit_length


def _by_bin(bins: BinDelegation) -> Callable[[str, str], bool]:
    # The bins of either form divide the hashes alike, and python-tuf's arithmetic is the clients' own.
    succinct = SuccinctRoles([], 1, bins.bit_length, bins.prefix)
    return lambda role, path: succinct.get_role_for_target(path) == role


def _by_path(role: DelegatedRole) -> Callable[[str, str], bool]:
    return lambda _, path: role.is_delegated_path(path)


def _everything(role: str, path: str) -> bool:
    return True
