"""Takes in what a ceremony made: new versions of root, targets and ``bins``.

    names → new to the store → no gaps → verified from the trusted root → not expired → satisfiable by the token →
    (unless ``revoke``) clients go on verifying → log → staged → trusted → before clients

The log says what was accepted before it takes effect. Whoever is killed before the staging has changed nothing and
imports again; whoever is killed after it is finished by the next start (``metadata.intake``, with the reasons for the
order there). Files that are there already are taken as they are, so an import repeats safely.

In a repository that is not published here, whoever publishes it brings the files: then an import reads them from the
store and trusts them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import NotFoundError, Reason, RefusedError, StartupError, UnavailableError
from wharfinger_daemon.keys import importing_rules as rules
from wharfinger_daemon.keys.importing_authority import ImportAuthority
from wharfinger_daemon.keys.importing_needs import require_clients_verify
from wharfinger_daemon.keys.importing_rules import ImportedFile
from wharfinger_daemon.metadata.intake import Intake, StoreWithStaged, including_staged, staged_intake
from wharfinger_daemon.metadata.ports import MetadataFiles, VersionedFile, file_name
from wharfinger_daemon.metadata.published import published_versions, read_offline_roles
from wharfinger_daemon.metadata.publisher import Publisher
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.signing.trust import TrustedRepository

__all__ = ["ImportLog", "ImportOutcome", "ImportRequest", "ImportedFile", "MetadataImport"]


@dataclass(frozen=True)
class ImportOutcome:
    """What was taken in.

    Attributes:
        taken: the names of the files that were new, in the order in which they were verified.
        versions: what is trusted now, or, in a dry run, would be: root, targets and ``bins``.
        timestamp_version: of the timestamp that shows it to clients; 0 in a dry run, or if it is not published here, or
            not yet.
    """

    taken: tuple[str, ...]
    versions: Mapping[str, int]
    timestamp_version: int


class ImportLog(Protocol):
    """The audit log."""

    async def log(self, leaf: Leaf) -> None:
        """Writes a leaf durably.

        Raises:
            UnavailableError: it was not written.
        """
        ...


class MetadataImport:
    """Takes metadata in.

    Args:
        authorities: one for each configured repository.
        publishers: of the repositories that are published here, by name.
    """

    def __init__(
        self,
        authorities: Iterable[ImportAuthority],
        publishers: Mapping[str, Publisher],
        log: ImportLog,
        clock: Clock,
    ) -> None:
        self._authorities = {one.repository.name: one for one in authorities}
        self._publishers = publishers
        self._log = log
        self._clock = clock
        self._one_after_another = asyncio.Lock()

    async def take(
        self, repository: str, files: Sequence[ImportedFile], *, caller: str, revoke: bool, dry_run: bool
    ) -> ImportOutcome:
        """Takes new metadata in; returns when clients see it, where it is published here.

        Args:
            repository: its name in the configuration.
            files: any number, in any order; without gaps, and those that are there already may be among them.
            revoke: take metadata in under which clients refuse what is published, and sign everything anew at once.
            dry_run: only say what would happen.

        Raises:
            NotFoundError: UNKNOWN_REPOSITORY.
            InvalidRequestError: METADATA_REJECTED; a file does not belong there, or does not verify.
            RefusedError: KEY_STILL_NEEDED, KEY_NOT_HELD, KEYID_REQUIRED; it verifies, and must not be taken in now.
            UnavailableError, CorruptStateError: PUBLICATION_FAILED; it was taken in, and clients will see it later.
            WharfingerError: store, log or token fail.
        """
        authority = self._authorities.get(repository)
        if authority is None:
            raise NotFoundError(
                "No repository of the name that was asked for is configured.", reason=Reason.UNKNOWN_REPOSITORY
            )
        parsed = rules.parse_files(files)
        publisher = self._publishers.get(repository)
        async with self._one_after_another:
            request = ImportRequest(authority, parsed, caller, revoke, dry_run, self._log, self._clock)
            return await (request.read_again() if publisher is None else request.publish(publisher))


@dataclass
class ImportRequest:
    """One import, while it runs.

    Attributes:
        files: from ``importing_rules.parse_files``.
        outcome: once it was decided.
    """

    authority: ImportAuthority
    files: Sequence[VersionedFile]
    caller: str
    revoke: bool
    dry_run: bool
    log: ImportLog
    clock: Clock
    outcome: ImportOutcome | None = None

    async def publish(self, publisher: Publisher) -> ImportOutcome:
        """In a repository that is published here."""
        publication = await publisher.take_in(self.decide)
        assert self.outcome is not None  # The decision was made.
        if publication is None:
            return self.outcome
        return replace(self.outcome, timestamp_version=publication.timestamp_version)

    async def read_again(self) -> ImportOutcome:
        """In a repository that somebody else publishes: trusts what the store has."""
        store = self.authority.repository.store
        missing = await rules.lacking(store, self.files)
        if missing:
            raise RefusedError(
                f"Repository '{self.authority.repository.name}' is not published by this process, and its metadata "
                f"directory lacks {', '.join(_names(missing))}. Have whoever publishes it add the files, then import.",
                reason=Reason.METADATA_REJECTED,
            )
        before = self.authority.trusted.versions
        trusted = await self._accepted(store, [file for file in self.files if file.version > before.get(file.role, 0)])
        changed = [role for role, version in trusted.versions.items() if version != before.get(role)]
        if changed and not self.dry_run:
            await self._write_down(self.files)
            await self.authority.trust(trusted, revoke=self.revoke, caller=self.caller)
        taken = [file for file in self.files if file.version > before.get(file.role, 0)]
        return ImportOutcome(tuple(_names(taken)), trusted.versions, 0)

    async def decide(self, repository: Repository) -> Intake | None:
        """What is to be staged; None if there is nothing, or only a question. What is accepted is in the log then.

        Raises:
            WharfingerError: as from ``MetadataImport.take``.
        """
        lacking = await rules.lacking(await including_staged(repository.store), self.files)
        staged = await staged_intake(repository.store)
        if staged is not None:
            return self._continue(staged, lacking)
        # What somebody put into the store by hand is not trusted by that; it is taken in like the rest.
        versions = self.authority.trusted.versions
        new = [file for file in self.files if file in lacking or file.version > versions.get(file.role, 0)]
        if not self.revoke:
            await repository.finish()
        rules.require_no_gaps(new, self.authority.trusted.versions)
        files = StoreWithStaged(repository.store, new)
        trusted = await self._accepted(files, new)
        await self._require_publishable(repository, files, trusted, new)
        shown = 0 if self.dry_run else (await published_versions(repository.store)).get("timestamp", 0)
        self.outcome = ImportOutcome(tuple(_names(new)), trusted.versions, shown)
        if self.dry_run or not new:
            return None
        await self._write_down(new)
        return Intake(tuple(new), self.revoke, self.caller)

    def _continue(self, staged: Intake, new: Sequence[VersionedFile]) -> Intake | None:
        if new:
            raise UnavailableError(
                f"The import of {', '.join(_names(staged.files))} was accepted and is not before clients yet. It is "
                "tried again by itself; wait until it is done, then import the others.",
                reason=Reason.PUBLICATION_FAILED,
            )
        self.outcome = ImportOutcome(tuple(_names(staged.files)), self.authority.trusted.versions, 0)
        return None if self.dry_run else staged

    async def _accepted(self, files: MetadataFiles, new: Sequence[VersionedFile]) -> TrustedRepository:
        trusted = await self.authority.verified(files)
        rules.require_each_verified(new, trusted.verified)
        rules.require_not_expired(new, trusted, self.clock.now())
        await self.authority.require_satisfiable(trusted, revoke=self.revoke)
        return trusted

    async def _require_publishable(
        self, repository: Repository, files: MetadataFiles, trusted: TrustedRepository, new: Sequence[VersionedFile]
    ) -> None:
        rules.require_consistent_snapshots(trusted.verified.root)
        try:
            offline = await read_offline_roles(files)
        except StartupError as error:
            raise rules.rejected("targets or bins", error.message) from error
        rules.require_bins_kept(repository.offline.bins, offline.bins, revoke=self.revoke)
        if not self.revoke:
            roots = sum(file.role == "root" for file in new)
            await require_clients_verify(repository, trusted, roots)

    async def _write_down(self, files: Sequence[VersionedFile]) -> None:
        described = " ".join(
            f"{name}:{hashlib.sha256(file.content).hexdigest()}"
            for name, file in zip(_names(files), files, strict=True)
        )
        details: dict[str, str | int] = {
            "repository": self.authority.repository.root_sha256,
            "name": self.authority.repository.name,
            "files": described,
            "revoke": int(self.revoke),
        }
        await self.log.log(Leaf(Act.METADATA_IMPORTED, self.clock.now(), self.caller, details))


def _names(files: Iterable[VersionedFile]) -> list[str]:
    return [file_name(file.role, file.version) for file in files]
