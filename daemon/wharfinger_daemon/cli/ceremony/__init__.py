"""``wharfinger root``, ``targets`` and ``bins``: ceremonies, taking in what they made, and what is listed."""

from __future__ import annotations

import click

from wharfinger_daemon.cli.ceremony.importing import import_metadata
from wharfinger_daemon.cli.ceremony.publishing import publish_staged
from wharfinger_daemon.cli.ceremony.signing import sign_staged
from wharfinger_daemon.cli.ceremony.staging import stage_metadata
from wharfinger_daemon.cli.ceremony.status import show_status
from wharfinger_daemon.cli.targets import add_target, import_rows, remove_targets


@click.group()
def root() -> None:
    """The root of trust: hold its ceremonies, and bring what they made to the daemon."""


@click.group()
def targets() -> None:
    """What the repository lists, and the offline targets metadata."""


@click.group()
def bins() -> None:
    """The offline metadata that delegates to the hash bins."""


for group in (root, targets, bins):
    for command in (stage_metadata, sign_staged, show_status, publish_staged):
        group.add_command(command)
# One import takes offline metadata of all kinds; that of 'targets' is for what the repository lists.
root.add_command(import_metadata)
bins.add_command(import_metadata)
for command in (import_rows, add_target, remove_targets):
    targets.add_command(command)
