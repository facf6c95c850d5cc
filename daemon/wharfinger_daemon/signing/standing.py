"""What holds at the moment: trusted repositories, the states of their keys, suspensions, and what the token holds.

``Standing`` is changed by whoever learns of something new (a ceremony's metadata, an activated key, a suspension), in
the event loop, between requests. A request works on the ``Moment`` that it began with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from wharfinger_daemon.errors import NotFoundError, Reason
from wharfinger_daemon.signing.trust import TrustedRepository


class KeyState(StrEnum):
    """Where a key of a line stands in its life."""

    GENERATED = "generated"
    PUBLISHED = "published"
    ACTIVE = "active"
    RETIRING = "retiring"
    DESTROYED = "destroyed"


@dataclass(frozen=True)
class Moment:
    """What holds at one moment.

    Attributes:
        repositories: by name.
        key_states: by repository name, then keyid; a role none of whose keys stands here has no life cycle.
        suspended: why nothing is signed, by repository name.
        held: the keys in the token, as DER SubjectPublicKeyInfo.
    """

    repositories: Mapping[str, TrustedRepository] = field(default_factory=dict)
    key_states: Mapping[str, Mapping[str, KeyState]] = field(default_factory=dict)
    suspended: Mapping[str, str] = field(default_factory=dict)
    held: frozenset[bytes] = frozenset()

    def repository(self, name: str) -> TrustedRepository:
        """The repository of that name.

        Raises:
            NotFoundError: none is configured.
        """
        repository = self.repositories.get(name)
        if repository is None:
            raise NotFoundError(
                "No repository of the name that was asked for is configured. Name one of the [[repositories]] in the "
                "configuration.",
                reason=Reason.UNKNOWN_REPOSITORY,
            )
        return repository


class Standing:
    """The present moment, and how it changes."""

    def __init__(self, repositories: Iterable[TrustedRepository] = ()) -> None:
        self._now = Moment(repositories={one.name: one for one in repositories})
        self._watching: list[Callable[[], None]] = []

    def watch(self, told: Callable[[], None]) -> None:
        """Has somebody told, in the event loop, whenever the states of keys have changed."""
        self._watching.append(told)

    @property
    def now(self) -> Moment:
        """The present moment."""
        return self._now

    def trust(self, repository: TrustedRepository) -> None:
        """Takes a repository as newer metadata has it."""
        self._now = replace(self._now, repositories={**self._now.repositories, repository.name: repository})

    def set_key_states(self, repository: str, states: Mapping[str, KeyState]) -> None:
        """Takes the states of all keys of a repository, by keyid."""
        self._now = replace(self._now, key_states={**self._now.key_states, repository: dict(states)})
        for told in self._watching:
            told()

    def suspend(self, repository: str, why: str) -> None:
        """From now on nothing is signed for a repository."""
        self._now = replace(self._now, suspended={**self._now.suspended, repository: why})

    def resume(self, repository: str) -> None:
        """From now on there may be signatures for a repository again."""
        rest = {name: why for name, why in self._now.suspended.items() if name != repository}
        self._now = replace(self._now, suspended=rest)

    def hold(self, public_keys: frozenset[bytes]) -> None:
        """Takes the keys that the token holds."""
        self._now = replace(self._now, held=public_keys)
