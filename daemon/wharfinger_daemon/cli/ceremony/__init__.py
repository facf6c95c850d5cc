"""``wharfinger root``, ``targets`` and ``bins``: ceremonies, and taking in what they made."""

from __future__ import annotations

import click

from wharfinger_daemon.cli.ceremony.importing import import_metadata


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
    group.add_command(import_metadata)
