"""Trusts new offline metadata in this process, and moves the life of keys along with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import StartupError
from wharfinger_daemon.keys import importing_rules as rules
from wharfinger_daemon.metadata.intake import Intake, StoreWithStaged
from wharfinger_daemon.metadata.planning import OfflineRoles
from wharfinger_daemon.metadata.ports import MetadataFiles, MetadataStore
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.signing.standing import Standing
from wharfinger_daemon.signing.trust import TrustedRepository, load_trusted_repository


class HeldKeys(Protocol):
    """The token, as far as importing is concerned."""

    async def refresh_held_keys(self) -> frozenset[bytes]:
        """As from ``SigningService.refresh_held_keys``."""
        ...


class KeySuccession(Protocol):
    """The life of keys, as far as importing is concerned. What changes something repeats safely."""

    def problems(self, trusted: TrustedRepository) -> Sequence[str]:
        """What in metadata that is to be trusted would not fit the key lines; such metadata is not taken in."""
        ...

    async def adopt(self, repository: str) -> None:
        """Notes what the newly verified metadata says of keys that the token holds."""
        ...

    async def succeed(self, repository: str, *, caller: str) -> None:
        """For each line whose active key the verified metadata does not list any more: activates the one key that it
        lists and the token holds.

        Raises:
            RefusedError: there is not exactly one.
        """
        ...


class NoSuccession:
    """Implements ``KeySuccession`` where keys have no life: whichever key is listed and held signs."""

    def problems(self, trusted: TrustedRepository) -> Sequence[str]:
        """None."""
        return ()

    async def adopt(self, repository: str) -> None:
        """Nothing is noted."""

    async def succeed(self, repository: str, *, caller: str) -> None:
        """Nothing is activated."""


@dataclass(frozen=True)
class ImportingRepository:
    """A configured repository: its name, its pin, its files."""

    name: str
    root_sha256: str
    store: MetadataStore


class ImportAuthority:
    """``metadata.intake.OfflineAuthority`` of one repository: what is trusted in this process, and its keys.

    Args:
        held: None where no token is open, and nobody knows what it holds.
    """

    def __init__(
        self,
        repository: ImportingRepository,
        standing: Standing,
        held: HeldKeys | None,
        succession: KeySuccession,
        clock: Clock,
    ) -> None:
        self.repository = repository
        self._standing = standing
        self._held = held
        self._succession = succession
        self._clock = clock

    @property
    def trusted(self) -> TrustedRepository:
        """The repository as it is trusted now."""
        return self._standing.now.repository(self.repository.name)

    async def authorise(self, intake: Intake) -> OfflineRoles:
        files = StoreWithStaged(self.repository.store, intake.files)
        await self.trust(await self.verified(files), revoke=intake.revoke, caller=intake.caller)
        return await read_offline_roles(files)

    async def verified(self, files: MetadataFiles) -> TrustedRepository:
        """The repository as some files have it.

        Raises:
            InvalidRequestError: METADATA_REJECTED; they do not verify.
        """
        name, pin = self.repository.name, self.repository.root_sha256
        epoch = self.trusted.epoch.number
        try:
            return await load_trusted_repository(name, pin, files, self._clock, epoch_number=epoch)
        except StartupError as error:
            raise rules.rejected(error.details.get("file", "the files"), error.message) from error

    async def trust(self, trusted: TrustedRepository, *, revoke: bool, caller: str) -> None:
        """Trusts a repository as it is now, and tells the life of keys."""
        if self._held is not None:
            await self._held.refresh_held_keys()
        self._standing.trust(trusted)
        await self._succession.adopt(trusted.name)
        if revoke:
            await self._succession.succeed(trusted.name, caller=caller)

    async def require_satisfiable(self, trusted: TrustedRepository, *, revoke: bool) -> None:
        """Refuses metadata that this process could not sign under.

        Raises:
            RefusedError: KEY_NOT_HELD, or KEYID_REQUIRED.
            InvalidRequestError: METADATA_REJECTED; an online role would need more than one signature, or the key lines
                do not fit.
        """
        for problem in self._succession.problems(trusted):
            raise rules.rejected("the delegations", problem)
        rules.require_single_signatures(trusted)
        if self._held is None:
            return
        held = await self._held.refresh_held_keys()
        rules.require_held(trusted, held)
        if revoke:
            rules.require_one_successor(trusted, held, self._standing.now.key_states.get(trusted.name, {}))
