"""``wharfinger ledger open-epoch``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from wharfinger_daemon.bootstrap.local_keys import require_no_daemon
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.cli.ledger.opening import opened_ledger, versions_by_role
from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, config_option, json_option, print_json
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.signing.ledger import Epoch
from wharfinger_daemon.signing.recovery import require_revoked, starts_of_epoch
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.recovery import newest_epoch
from wharfinger_daemon.storage.recovery import open_epoch as write_epoch
from wharfinger_daemon.storage.sole_signer import sole_signer


@click.command(name="open-epoch")
@click.argument("repository")
@click.option(
    "--start",
    "declared",
    metavar="ROLE=VERSION",
    multiple=True,
    callback=versions_by_role,
    help="Above which version a role goes on, such as timestamp=1200. By default above the published one.",
)
@click.option("--confirm", metavar="NAME", help="The repository's name again, instead of typing it.")
@config_option
@json_option
def open_epoch(
    repository: str, declared: dict[str, int], confirm: str | None, config_path: Path | None, as_json: bool
) -> None:
    """Let the versions of REPOSITORY go on above the published ones, to recover from a fast-forward attack.

    Somebody who could sign may have used versions up, so far that honest ones cannot follow. Clients accept lower ones
    only once a root has revoked every key that could sign timestamp and snapshot: stop the daemon, import such a root
    with --local --revoke, open the epoch, and start the daemon, which then publishes everything anew.
    """
    with opened_ledger(config_path, repository) as opened, sole_signer(opened.database):
        # A daemon reads the epoch when it starts, and would go on in the one before. None may start meanwhile, either.
        asyncio.run(require_no_daemon(opened.settings.administration.grpc_address))
        identity = opened.repository.root_sha256
        epoch, opened_with = opened.database.run_blocking(lambda connection: newest_epoch(connection, identity))
        trusted = asyncio.run(opened.trusted(staged=True))
        require_revoked(trusted.verified.roots, opened_with)
        published = asyncio.run(published_versions(open_store(opened.repository)))
        starts = starts_of_epoch(opened.claimed(epoch), published, declared)
        following = Epoch(epoch.repository, epoch.number + 1)
        _confirm(repository, following.number, confirm)
        root_version, now = trusted.verified.root.version, SystemClock().now()
        Journal(opened.database).write_blocking(
            lambda transaction: write_epoch(transaction, following, starts, root_version=root_version, at=now)
        )
    if as_json:
        print_json(
            {"repository": repository, "epoch": following.number, "root_version": root_version, "starts": starts}
        )
    else:
        click.echo(f"Repository '{repository}' is in epoch {following.number} now. Start the daemon.")


def _confirm(repository: str, number: int, confirmed: str | None) -> None:
    if confirmed is None:
        confirmed = click.prompt(
            f"This opens epoch {number}: versions below those signed so far can be signed again, with other keys.\n"
            f"Type the name of the repository to go on",
            err=True,
        )
    if confirmed != repository:
        click.echo(f"wharfinger: '{confirmed}' is not the name of the repository. Nothing was changed.", err=True)
        sys.exit(EXIT_COULD_NOT_RUN)
