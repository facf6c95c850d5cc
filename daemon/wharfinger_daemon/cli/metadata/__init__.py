"""``wharfinger metadata``: look at what is published."""

from __future__ import annotations

import click

from wharfinger_daemon.cli.metadata.auditing import audit_diff, digest
from wharfinger_daemon.cli.metadata.status import status


@click.group()
def metadata() -> None:
    """Look at the published metadata. On the publishing host."""


metadata.add_command(status)
metadata.add_command(digest)
metadata.add_command(audit_diff)
