"""What the commands on the ledger have in common: the database, and the repository as its verified metadata has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress as Bar
from sqlalchemy import Connection

from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.cli.program import configuration_file
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.config import RepositorySettings, Settings
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.signing.holdings import claimed_versions
from wharfinger_daemon.signing.ledger import Epoch
from wharfinger_daemon.signing.model import ClaimedVersions
from wharfinger_daemon.signing.recovery import Progress, Seen, VerifiedPublication, verify_publication
from wharfinger_daemon.signing.trust import TrustedRepository, load_trusted_repository
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.ledger import read_floors
from wharfinger_daemon.storage.revision import require_current


@dataclass(frozen=True)
class OpenedLedger:
    """The database with the ledger, and one repository of the configuration."""

    settings: Settings
    repository: RepositorySettings
    database: Database

    async def trusted(self, *, staged: bool = False) -> TrustedRepository:
        """The repository, verified from its pinned root.

        Args:
            staged: with what an import has staged for the next start.

        Raises:
            StartupError: it does not verify.
        """
        one = self.repository
        store = open_store(one)
        source = await including_staged(store) if staged else store
        return await load_trusted_repository(one.name, one.root_sha256, source, SystemClock())

    async def published(self, told: Progress, *seen: Seen) -> VerifiedPublication:
        """All that is published, verified.

        Raises:
            StartupError: something of it does not verify.
        """
        store = open_store(self.repository)
        return await verify_publication(await self.trusted(), store, told, *seen)

    def claimed(self, epoch: Epoch) -> dict[str, ClaimedVersions]:
        """The highest version of each role that was signed or named in an epoch."""

        def work(connection: Connection) -> dict[str, dict[str, int]]:
            return {role: names for (_, role), names in read_floors(connection, epoch).items()}

        return claimed_versions(self.database.read_blocking(work))


@contextmanager
def opened_ledger(config_path: Path | None, name: str) -> Iterator[OpenedLedger]:
    """Opens the database of a configuration.

    Raises:
        InvalidRequestError: the configuration has no such repository.
        StartupError: the configuration or the database is not as it should be.
    """
    settings = config.load(configuration_file(config_path))
    known = {one.name: one for one in settings.repositories}
    if name not in known:
        raise InvalidRequestError(
            f"The configuration has no repository '{name}'. It has: {', '.join(known) or 'none'}.",
            reason=Reason.UNKNOWN_REPOSITORY,
        )
    with closing(Database.of(settings.database)) as database:
        require_current(database)
        yield OpenedLedger(settings, known[name], database)


def versions_by_role(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """Reads ``ROLE=VERSION`` options."""
    found = {}
    for value in values:
        role, equals, version = value.rpartition("=")
        if not equals or not role or not (version.isascii() and version.isdigit()) or len(version) > 19:
            raise click.BadParameter(f"'{value}' must be ROLE=VERSION, such as timestamp=1200 or bins-*=310.")
        found[role] = int(version)
    return found


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """A progress bar on standard error."""
    with Bar(console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("Verifying what is published", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
