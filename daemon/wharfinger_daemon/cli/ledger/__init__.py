"""``wharfinger ledger``: what was signed, and how to go on when that was lost."""

from __future__ import annotations

import click

from wharfinger_daemon.cli.ledger.epochs import open_epoch
from wharfinger_daemon.cli.ledger.rebuilding import rebuild
from wharfinger_daemon.cli.ledger.showing import show


@click.group()
def ledger() -> None:
    """Look at the ledger, rebuild a lost one, or open a new epoch. On the signing host, on the database itself."""


ledger.add_command(show)
ledger.add_command(rebuild)
ledger.add_command(open_epoch)
