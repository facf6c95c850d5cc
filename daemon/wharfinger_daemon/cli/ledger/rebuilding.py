"""``wharfinger ledger rebuild``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from wharfinger_daemon.cli.ledger.opening import OpenedLedger, opened_ledger, progress, versions_by_role
from wharfinger_daemon.cli.program import config_option, json_option, print_json
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.signing.recovery import Progress, VerifiedPublication
from wharfinger_daemon.storage.audit_log import begin_log
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.recovery import newest_epoch, raise_floors
from wharfinger_daemon.storage.restoration import Restoration


@click.command()
@click.argument("repository")
@click.option(
    "--from-metadata",
    is_flag=True,
    required=True,
    help="Take what is published, verified from the trusted root, as the least that was signed.",
)
@click.option(
    "--margin",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="How many versions above the published ones to treat as used: what was signed last may be lost.",
)
@click.option(
    "--floor",
    "declared",
    metavar="ROLE=VERSION",
    multiple=True,
    callback=versions_by_role,
    help="A version that you know was used, such as timestamp=1200 or bins-*=310. May be repeated.",
)
@click.option(
    "--with-targets",
    is_flag=True,
    help="Restore the targets and versions, too: for a database that was lost as a whole.",
)
@config_option
@json_option
def rebuild(
    repository: str,
    from_metadata: bool,
    margin: int,
    declared: dict[str, int],
    with_targets: bool,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Rebuild the ledger of REPOSITORY after its database was lost, or restored from an old copy.

    Versions go on above what is published, and above the margin and floors that you name; nothing at or below is signed
    again. It only ever raises what the ledger holds, so it can be run again, and beside a ledger that is not lost. Take
    the newest published metadata that there is: of a mirror or the CDN, if need be.
    """
    with opened_ledger(config_path, repository) as opened:
        journal = Journal(opened.database)
        begin_log(journal, opened.settings.audit.origin, SystemClock())
        with progress(as_json) as told:
            rebuilding = _Rebuilding(opened, margin, declared, told)
            if with_targets:
                told_of = journal.write_blocking(rebuilding.restore)
            else:
                # First everything is verified, which takes long, and only then is the database locked.
                published = asyncio.run(opened.published(told))
                told_of = journal.write_blocking(lambda transaction: rebuilding.write(transaction, published))
    if as_json:
        print_json({"repository": repository, **told_of})
        return
    click.echo(f"{len(told_of['raised'])} of {told_of['online_roles']} online roles have a higher floor now.")
    for role in ("timestamp", "snapshot"):
        click.echo(f"The next {role} will have a version above {told_of['floors'][role]}.")
    if with_targets:
        click.echo(f"{told_of['targets']} targets were restored.")


@dataclass(frozen=True)
class _Rebuilding:
    """One rebuilding; its methods return what there is to tell."""

    opened: OpenedLedger
    margin: int
    declared: Mapping[str, int]
    told: Progress

    def restore(self, transaction: JournalTransaction) -> dict[str, Any]:
        """Verifies what is published and writes all of its rows on the way, then the floors."""
        restoration = Restoration(transaction.connection, self.opened.repository.root_sha256)
        published = asyncio.run(self.opened.published(self.told, restoration.seen))
        restoration.finish(published.versions, SystemClock().now())
        return {**self.write(transaction, published), "targets": restoration.targets}

    def write(self, transaction: JournalTransaction, published: VerifiedPublication) -> dict[str, Any]:
        """Writes the floors."""
        floors = published.floors(self.declared, self.margin)
        epoch, _ = newest_epoch(transaction.connection, self.opened.repository.root_sha256)
        details: dict[str, str | int] = {
            "epoch": epoch.number,
            "margin": self.margin,
            "declared": " ".join(f"{role}={version}" for role, version in sorted(self.declared.items())),
            "timestamp_version": published.versions["timestamp"],
            "timestamp_sha256": published.timestamp_sha256,
        }
        return {
            **details,
            "raised": raise_floors(transaction, epoch, floors, details, SystemClock().now()),
            "online_roles": len(published.online),
            "floors": {role: floors[role][role] for role in ("timestamp", "snapshot")},
        }
