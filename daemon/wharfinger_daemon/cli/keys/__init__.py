"""``wharfinger keys``: the life of the keys that sign online roles."""

from __future__ import annotations

import click

from wharfinger_daemon.cli.keys.acts import activate, publish, retire
from wharfinger_daemon.cli.keys.attesting import attest
from wharfinger_daemon.cli.keys.destroying import destroy
from wharfinger_daemon.cli.keys.generating import generate
from wharfinger_daemon.cli.keys.listing import list_keys, show
from wharfinger_daemon.telemetry import configure_logging


@click.group()
def keys() -> None:
    """Generate keys, look at them, and move them through their life.

    A key is generated in the token, published by a ceremony's metadata, active, retiring, and destroyed. Keys are
    generated, attested and destroyed on the signing host; the rest asks the running daemon. Wherever a KEYID is asked
    for, the beginning of one is enough that no other key has.
    """
    configure_logging(level="warning", json=False)


for command in (generate, list_keys, show, attest, publish, activate, retire, destroy):
    keys.add_command(command)
