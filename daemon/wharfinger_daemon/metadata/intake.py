"""New offline metadata on its way from a ceremony to clients.

What was verified and accepted is *staged* first: one durable note in the store, which clients do not see. From then on
it counts as trusted, also after a restart, and whoever is killed anywhere begins again after the staging. Adding its
files one by one would not do: of a new targets and a new bins, or of a root that revokes the keys of both, each half is
a repository that does not verify.

From the staging on, there are two ways, because clients always read root first and by itself:

*Nothing is revoked.* What clients see verifies under every new root; the import demanded it. So: targets and bins,
which nobody reads before a snapshot names them; the roots; then a snapshot that names all, and its timestamp. Between
any two steps clients see one whole repository.

*Something is revoked.* Then there is no state that both roots accept, and the window is made as short as it can be: the
bins are signed anew by the new key, all of them, and so is a snapshot, while clients still see the old state; the
timestamp is signed; the roots are added; the timestamp is replaced. Only who refreshes between these last two steps
fails, and succeeds when it tries again. The root comes first of the two, because revoking is what it is all for: once a
client has the new root, nothing that the old key signs deceives it, whatever happens to us before the next step.

At the end the note is thrown away.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.metadata.planning import OfflineRoles, Publication
from wharfinger_daemon.metadata.ports import MetadataStore, VersionedFile
from wharfinger_daemon.metadata.reading import ROOT
from wharfinger_daemon.metadata.repository import Repository


@dataclass(frozen=True)
class Intake:
    """Offline metadata that was accepted.

    Attributes:
        files: those that the store lacks; roots in ascending order.
        revoke: whether clients may refuse what is published until everything is signed anew.
        caller: who brought it, for what is logged on the way.
    """

    files: tuple[VersionedFile, ...]
    revoke: bool
    caller: str

    @property
    def roots(self) -> list[VersionedFile]:
        """The new roots."""
        return [file for file in self.files if file.role == ROOT]

    @property
    def others(self) -> list[VersionedFile]:
        """The new targets and bins."""
        return [file for file in self.files if file.role != ROOT]

    def encode(self) -> bytes:
        """The note that is staged."""
        files = [
            {"role": file.role, "version": file.version, "content": base64.b64encode(file.content).decode("ascii")}
            for file in self.files
        ]
        return json.dumps({"caller": self.caller, "revoke": self.revoke, "files": files}).encode("ascii")


class OfflineAuthority(Protocol):
    """Who decides on keys and delegations, and learns of new ones."""

    async def authorise(self, intake: Intake) -> OfflineRoles:
        """Trusts what was accepted from now on; activates successors of keys that it revokes. Repeats safely.

        Returns:
            The offline roles that the next snapshot is to name.

        Raises:
            WharfingerError: it cannot be done now; the same call may be made again.
        """
        ...


class StoreWithStaged:
    """A metadata source: what the store has, and what is staged beside it. For those who decide what to trust; clients
    see the store alone."""

    def __init__(self, store: MetadataStore, files: Sequence[VersionedFile]) -> None:
        self._store = store
        self._files = {(file.role, file.version): file.content for file in files}

    async def read(self, role: str, version: int) -> bytes | None:
        """As from ``MetadataStore.read``."""
        content = await self._store.read(role, version)
        return self._files.get((role, version)) if content is None else content


async def including_staged(store: MetadataStore) -> StoreWithStaged:
    """The store with what is staged now.

    Raises:
        CorruptStateError: the note is damaged.
        UnavailableError: the store does not answer.
    """
    intake = await staged_intake(store)
    return StoreWithStaged(store, () if intake is None else intake.files)


async def staged_intake(store: MetadataStore) -> Intake | None:
    """What is staged, and not all the way to clients yet.

    Raises:
        CorruptStateError: the note is damaged.
        UnavailableError: the store does not answer.
    """
    content = await store.staged()
    if content is None:
        return None
    try:
        said = json.loads(content)
        files = tuple(
            VersionedFile(file["role"], file["version"], base64.b64decode(file["content"])) for file in said["files"]
        )
        return Intake(files, said["revoke"], said["caller"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptStateError(
            "The note of an import that was under way is damaged. Remove '.staged' from the metadata directory and "
            "import the files again.",
            reason=Reason.REPOSITORY_INVALID,
            file=".staged",
        ) from error


async def bring_to_clients(repository: Repository, intake: Intake) -> Publication:
    """Takes what is staged all the way, as the module says. Repeats safely.

    Args:
        repository: with the new offline roles.

    Raises:
        WharfingerError: store, records or signer fail. The same call may be made again.
    """
    store = repository.store
    await store.add(intake.others)
    if not intake.revoke:
        await store.add(intake.roots)
    publication = await repository.show_new_metadata(
        everything=intake.revoke, before_showing=lambda: store.add(intake.roots)
    )
    await store.stage(None)
    return publication
