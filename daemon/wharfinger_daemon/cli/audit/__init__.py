"""``wharfinger audit``: the log of signatures and administrative acts, checked and read without a daemon."""

from __future__ import annotations

import click

from wharfinger_daemon.cli.audit.exporting import export
from wharfinger_daemon.cli.audit.showing import show
from wharfinger_daemon.cli.audit.verifying import verify


@click.group()
def audit() -> None:
    """Check, show or export the audit log. Reads the database alone, also beside a running daemon."""


audit.add_command(verify)
audit.add_command(show)
audit.add_command(export)
