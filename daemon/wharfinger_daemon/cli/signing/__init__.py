"""``wharfinger signing``: the switch that stops all signing for a repository."""

from __future__ import annotations

import click

from wharfinger_daemon.cli.signing.switch import resume, status, suspend


@click.group()
def signing() -> None:
    """Stop all signing for a repository, in an emergency, and let it go on."""


for command in (suspend, resume, status):
    signing.add_command(command)
