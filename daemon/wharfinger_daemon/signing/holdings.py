"""Authority compared with what the token and the ledger have: at start, and for listing keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.signing.delegation import INTERMEDIATE_BINS, RoleAuthority
from wharfinger_daemon.signing.keys import AuthorisedKey
from wharfinger_daemon.signing.model import ClaimedVersions, RepositoryKey, RoleType
from wharfinger_daemon.signing.trust import TrustedRepository

_ONLINE = frozenset({RoleType.TIMESTAMP, RoleType.SNAPSHOT, RoleType.BINS})


def held_keys(repository: TrustedRepository, held: frozenset[bytes]) -> list[RepositoryKey]:
    """The keys that the verified metadata authorises and the token holds, by keyid."""
    authorities = list(repository.authorities())
    keys = {key.keyid: key for authority in authorities for key in authority.keys.values() if key.der in held}
    return [_listed(repository, key, authorities) for _, key in sorted(keys.items())]


def require_keys_held(repository: TrustedRepository, held: frozenset[bytes]) -> None:
    """Refuses a token that cannot sign an online role: timestamp, snapshot or a bin.

    Raises:
        StartupError: KEY_MISMATCH, with the roles and the keyids that they need.
    """
    lacking = {
        authority.pattern: authority.keyids
        for authority in repository.authorities()
        if authority.role_type in _ONLINE and not any(key.der in held for key in authority.keys.values())
    }
    if not lacking:
        return
    patterns = ", ".join(_collapsed(lacking, lacking))
    keyids = ", ".join(sorted({keyid for listed in lacking.values() for keyid in listed}))
    raise StartupError(
        f"The token holds no key that may sign {patterns} of repository '{repository.name}'. Its verified metadata "
        f"authorises {keyids}. Configure the token that has one of them in [hsm], or the root_sha256 and "
        "metadata_directory or bucket of the repository that this token belongs to.",
        reason=Reason.KEY_MISMATCH,
        repository=repository.name,
        keyids=keyids,
    )


def require_ledger(
    repository: TrustedRepository, floors: Mapping[str, Mapping[str, int]], published: Mapping[str, int]
) -> None:
    """Refuses a ledger that does not know of everything that was published.

    Args:
        floors: all that the ledger has on this repository.
        published: the versions of the roles that were signed here, as found in the published metadata.

    Raises:
        StartupError: LEDGER_MISSING, LEDGER_BEHIND, or REPOSITORY_INVALID when it is the offline metadata that is
            older than what the ledger has seen.
    """
    behind = {
        role: version
        for role, version in published.items()
        if role not in repository.versions and version > floors.get(role, {}).get(role, 0)
    }
    if behind:
        raise _ledger_refused(repository, floors, behind)
    named = floors.get("snapshot", {})
    for role in ("targets", INTERMEDIATE_BINS):
        version = repository.versions.get(role, 0)
        if version < named.get(role, 0):
            raise StartupError(
                f"The metadata of repository '{repository.name}' has version {version} of '{role}', and the ledger has "
                f"seen a snapshot that names version {named[role]}. Bring the newest metadata back.",
                reason=Reason.REPOSITORY_INVALID,
                repository=repository.name,
                file=f"{version}.{role}.json",
            )


def claimed_versions(floors: Mapping[str, Mapping[str, int]]) -> dict[str, ClaimedVersions]:
    """Which versions are taken, by role, as the floors of the ledger say."""
    claimed: dict[str, ClaimedVersions] = {}
    for namer, names in floors.items():
        for name, version in names.items():
            known = claimed.get(name, ClaimedVersions(0, 0))
            claimed[name] = (
                ClaimedVersions(version, known.named)
                if name == namer
                else ClaimedVersions(known.signed, max(known.named, version))
            )
    return claimed


def _ledger_refused(
    repository: TrustedRepository, floors: Mapping[str, Mapping[str, int]], behind: Mapping[str, int]
) -> StartupError:
    role, version = max(behind.items(), key=lambda item: (item[0] in ("timestamp", "snapshot"), item[1]))
    missing = not floors
    found = "knows nothing of it" if missing else f"is behind: it ends at version {floors.get(role, {}).get(role, 0)}"
    return StartupError(
        f"Repository '{repository.name}' has published version {version} of '{role}', and the ledger {found}. With "
        "such a ledger, another payload could be signed for a version that clients have. Restore the newest copy of "
        "the database, or configure the database that belongs to this repository; leave the published metadata alone.",
        reason=Reason.LEDGER_MISSING if missing else Reason.LEDGER_BEHIND,
        repository=repository.name,
        role=role,
        roles_behind=str(len(behind)),
    )


def _listed(repository: TrustedRepository, key: AuthorisedKey, authorities: Iterable[RoleAuthority]) -> RepositoryKey:
    every = list(authorities)
    mine = [authority.pattern for authority in every if _authorises(authority, key)]
    return RepositoryKey(
        keyid=key.keyid,
        keytype=key.keytype,
        scheme=key.scheme,
        public_key_pem=key.pem,
        roles=tuple(_collapsed(mine, [other.pattern for other in every])),
        verified_at=repository.verified_at,
    )


def _authorises(authority: RoleAuthority, key: AuthorisedKey) -> bool:
    own = authority.keys.get(key.keyid)
    return own is not None and own.der == key.der


def _collapsed(roles: Iterable[str], every_role: Iterable[str]) -> Iterator[str]:
    """Roles with ``bins-*`` instead of all ``bins-0a``, where none of the repository's is left out."""
    mine = list(roles)
    groups: dict[str, set[str]] = {}
    for role in every_role:
        prefix, dash, _ = role.rpartition("-")
        if dash:
            groups.setdefault(prefix, set()).add(role)
    whole = {prefix for prefix, members in groups.items() if len(members) > 1 and members <= set(mine)}
    yield from dict.fromkeys(
        f"{role.rpartition('-')[0]}-*" if role.rpartition("-")[0] in whole else role for role in mine
    )
