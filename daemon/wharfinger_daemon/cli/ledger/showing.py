"""``wharfinger ledger show``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from wharfinger_daemon.cli.ledger.opening import opened_ledger
from wharfinger_daemon.cli.program import config_option, json_option, print_json
from wharfinger_daemon.storage.recovery import newest_epoch


@click.command()
@click.argument("repository")
@config_option
@json_option
def show(repository: str, config_path: Path | None, as_json: bool) -> None:
    """Show the epoch of REPOSITORY, and the highest version of each role that was signed or named."""
    with opened_ledger(config_path, repository) as opened:
        identity = opened.repository.root_sha256
        epoch, opened_with = opened.database.read_blocking(lambda connection: newest_epoch(connection, identity))
        claimed = opened.claimed(epoch)
    if as_json:
        roles = {role: {"signed": taken.signed, "named": taken.named} for role, taken in sorted(claimed.items())}
        print_json({"repository": repository, "epoch": epoch.number, "root_version": opened_with, "roles": roles})
        return
    table = Table("role", "highest signed", "highest named", title=f"{repository}, epoch {epoch.number}")
    for role, taken in sorted(claimed.items()):
        table.add_row(role, str(taken.signed or "–"), str(taken.named or "–"))
    Console().print(table)
