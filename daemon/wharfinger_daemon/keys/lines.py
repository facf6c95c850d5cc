"""Key lines: the successive keys of one purpose.

A line signs certain roles of one repository, and a key belongs to one line. Which roles the verified metadata lets a
key sign is compared by keyid and by the key's value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from wharfinger_daemon.errors import NotFoundError, Reason, StartupError
from wharfinger_daemon.signing.delegation import RoleAuthority
from wharfinger_daemon.signing.model import RoleType
from wharfinger_daemon.signing.trust import TrustedRepository

IMPLICIT_LINE = "online"
CANARY_LINE = "canary"
LOG_LINE = "log"

_ONLINE = frozenset({RoleType.TIMESTAMP, RoleType.SNAPSHOT, RoleType.BINS})


@dataclass(frozen=True)
class KeyLine:
    """A line.

    Attributes:
        repository: by its name in the configuration.
        roles: ``fnmatch`` patterns on roles, where ``bins-*`` stands for all bins of a delegation; none at all for
            every online role: timestamp, snapshot and the bins.
        algorithm: of the keys that are generated for it, such as ``ecdsa-p256``.
    """

    name: str
    repository: str
    roles: tuple[str, ...] = ()
    algorithm: str = "ecdsa-p256"

    def covers(self, authority: RoleAuthority) -> bool:
        """Whether its keys are to sign this role."""
        if not self.roles:
            return authority.role_type in _ONLINE
        return any(fnmatchcase(authority.pattern, pattern) for pattern in self.roles)

    def authorities(self, repository: TrustedRepository) -> list[RoleAuthority]:
        """Its roles, as the verified metadata has them."""
        return [authority for authority in repository.authorities() if self.covers(authority)]

    def missing(self, repository: TrustedRepository, keyid: str, public_key: bytes) -> tuple[str, ...]:
        """Its roles for which the verified metadata does not list the key; all of them if it has no such role yet."""
        authorities = self.authorities(repository)
        if not authorities:
            return self.roles or (IMPLICIT_LINE,)
        return tuple(one.pattern for one in authorities if not lists(one, keyid, public_key))


class KeyLines:
    """All lines of a configuration: those that are configured, and one for each repository that has none.

    Raises:
        StartupError: CONFIGURATION_INVALID; a name is taken by the canary's or the log's key.
    """

    def __init__(self, configured: Sequence[KeyLine], repositories: Iterable[str]) -> None:
        for line in configured:
            if line.name in (CANARY_LINE, LOG_LINE):
                raise StartupError(
                    f"keys: a line cannot be called '{line.name}', as the key of that purpose is. Choose another name.",
                    reason=Reason.CONFIGURATION_INVALID,
                )
        served = {line.repository for line in configured}
        implicit = [KeyLine(IMPLICIT_LINE, name) for name in repositories if name not in served]
        self._lines = (*configured, *implicit)

    def __iter__(self) -> Iterator[KeyLine]:
        return iter(self._lines)

    def of(self, repository: str) -> list[KeyLine]:
        """The lines of a repository, by its name."""
        return [line for line in self._lines if line.repository == repository]

    def find(self, repository: str, name: str) -> KeyLine | None:
        """A line of a repository; None if it is not configured any more."""
        return next((line for line in self.of(repository) if line.name == name), None)

    def named(self, name: str, repository: str | None = None) -> KeyLine:
        """The one line of that name.

        Args:
            repository: by its name; needed where several repositories have a line of that name.

        Raises:
            NotFoundError: KEY_LINE_UNKNOWN; there is none, or there are several.
        """
        found = [one for one in self._lines if one.name == name and repository in (None, one.repository)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"'{one.name}' of '{one.repository}'" for one in self._lines) or "none"
        raise NotFoundError(
            f"There are {len(found)} key lines called '{name}', and one is needed. Name the repository too, or another "
            f"line. Configured are: {known}.",
            reason=Reason.KEY_LINE_UNKNOWN,
        )

    def problems(self, repository: TrustedRepository, reserved: Collection[bytes]) -> list[str]:
        """What in a repository's metadata does not fit the lines.

        Args:
            reserved: the canary's and the log's key, DER SubjectPublicKeyInfo: what they sign is no metadata, and what
                signs metadata must sign nothing else.
        """
        lines = self.of(repository.name)
        authorities = list(repository.authorities())
        return [
            *_empty(lines, repository),
            *_overlaps(lines, authorities),
            *_shared_keys(lines, authorities),
            *_reserved_keys(authorities, reserved),
        ]

    def require_fit(self, repository: TrustedRepository, reserved: Collection[bytes]) -> None:
        """Refuses to start with lines that the verified metadata does not fit.

        Raises:
            StartupError: CONFIGURATION_INVALID, with the first thing that is wrong.
        """
        for problem in self.problems(repository, reserved):
            raise StartupError(
                f"The key lines of repository '{repository.name}' do not fit its verified metadata: {problem}",
                reason=Reason.CONFIGURATION_INVALID,
                repository=repository.name,
            )


def lists(authority: RoleAuthority, keyid: str, public_key: bytes) -> bool:
    """Whether the verified metadata lets the key sign a role: this keyid, with this value."""
    key = authority.keys.get(keyid)
    return key is not None and key.der == public_key


def _empty(lines: Iterable[KeyLine], repository: TrustedRepository) -> Iterator[str]:
    for line in lines:
        if line.roles and not line.authorities(repository):
            yield (
                f"line '{line.name}' covers {', '.join(line.roles)}, and there is no such role. Correct its roles in "
                "[[keys]]."
            )


def _overlaps(lines: Sequence[KeyLine], authorities: Iterable[RoleAuthority]) -> Iterator[str]:
    for authority in authorities:
        covering = [line.name for line in lines if line.covers(authority)]
        if len(covering) > 1:
            yield f"role '{authority.pattern}' is in several lines: {', '.join(covering)}. Leave it in one of [[keys]]."


def _shared_keys(lines: Sequence[KeyLine], authorities: Iterable[RoleAuthority]) -> Iterator[str]:
    lines_of: dict[bytes, dict[str, str]] = {}
    for authority in authorities:
        for key in authority.keys.values():
            for line in lines:
                if line.covers(authority):
                    lines_of.setdefault(key.der, {})[line.name] = key.keyid
    for names in lines_of.values():
        if len(names) > 1:
            yield (
                f"key {next(iter(names.values()))} is listed for roles of several lines: {', '.join(names)}. A key "
                "belongs to one line: put these roles into one of [[keys]], or have metadata signed that gives each "
                "line keys of its own."
            )


def _reserved_keys(authorities: Iterable[RoleAuthority], reserved: Collection[bytes]) -> Iterator[str]:
    for authority in authorities:
        for key in authority.keys.values():
            if key.der in reserved:
                yield (
                    f"role '{authority.pattern}' lists key {key.keyid}, which is the canary's or the log's. Have "
                    "metadata signed without it, or configure another key for them."
                )
