"""What a verified delegator (root or targets metadata) says about the roles that it delegates to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Role, Root, SuccinctRoles, Targets

from wharfinger_daemon.signing.keys import AuthorisedKey, can_be_held
from wharfinger_daemon.signing.model import RoleType

INTERMEDIATE_BINS = "bins"


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
        self._succinct: SuccinctRoles | None = None
        self._succinct_authority: RoleAuthority | None = None
        delegations = targets.delegations
        if delegations is None:
            return
        keys = delegations.keys
        for role in (delegations.roles or {}).values():
            self._by_role[role.name] = _authority(role.name, _type_of(role), role, keys, _by_path(role))
        if delegations.succinct_roles is not None:
            succinct = delegations.succinct_roles
            self._succinct = succinct
            self._succinct_authority = _authority(
                f"{succinct.name_prefix}-*", RoleType.BINS, succinct, keys, _by_bin(succinct)
            )

    def find(self, role: str) -> RoleAuthority | None:
        """The authority over a role, or None if it is not delegated."""
        if self._succinct is not None and _is_bin(self._succinct, role):
            return self._succinct_authority
        return self._by_role.get(role)

    def __iter__(self) -> Iterator[RoleAuthority]:
        yield from self._by_role.values()
        if self._succinct_authority is not None:
            yield self._succinct_authority


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


def _is_bin(succinct: SuccinctRoles, role: str) -> bool:
    # python-tuf reads the suffix with int(), which also takes 'FF', '+f' or 'f_f' for a number. Such an alias of a bin
    # would have a ledger of its own.
    if not succinct.is_delegated_role(role):
        return False
    suffix = role.removeprefix(f"{succinct.name_prefix}-")
    return suffix == f"{int(suffix, 16):0{succinct.suffix_len}x}"


def _by_bin(succinct: SuccinctRoles) -> Callable[[str, str], bool]:
    return lambda role, path: succinct.get_role_for_target(path) == role


def _by_path(role: DelegatedRole) -> Callable[[str, str], bool]:
    return lambda _, path: role.is_delegated_path(path)


def _everything(role: str, path: str) -> bool:
    return True
