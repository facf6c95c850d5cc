"""``wharfinger root``, ``targets`` and ``bins``: ceremonies, and taking in what they made."""

from __future__ import annotations

import click

from wharfinger_daemon.cli.ceremony.importing import import_metadata
from wharfinger_daemon.cli.ceremony.publishing import publish_staged
from wharfinger_daemon.cli.ceremony.signing import sign_staged
from wharfinger_daemon.cli.ceremony.staging import stage_metadata
from wharfinger_daemon.cli.ceremony.status import show_status


@click.group()
def root() -> None:
    """The root of trust: hold its ceremonies, and bring what they made to the daemon."""


@click.group()
def targets() -> None:
    """The offline targets metadata."""


@click.group()
def bins() -> None:
    """The offline metadata that delegates to the hash bins."""


for group in (root, targets, bins):
    for command in (stage_metadata, sign_staged, show_status, publish_staged, import_metadata):
        group.add_command(command)
