"""``wharfinger keys publish``, ``activate`` and ``retire``."""

from __future__ import annotations

import click

from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger_daemon.cli.administration import Connection, administration_options
from wharfinger_daemon.cli.keys.described import as_json as described
from wharfinger_daemon.cli.keys.described import state_of
from wharfinger_daemon.cli.keys.reaching import Verb, local_option, move
from wharfinger_daemon.cli.program import json_option, print_json


@click.command()
@click.argument("keyid")
@local_option
@administration_options
@json_option
def publish(keyid: str, local: bool, connection: Connection, as_json: bool) -> None:
    """Mark a generated key as published, once the imported metadata lists it for every role of its line."""
    _tell(move(connection, Verb.PUBLISH, keyid, local=local), as_json=as_json)


@click.command()
@click.argument("keyid")
@local_option
@administration_options
@json_option
def activate(keyid: str, local: bool, connection: Connection, as_json: bool) -> None:
    """Make a published key the one that signs for its line.

    The key that signed is retiring from then on. While the metadata lists both, it can be activated again.
    """
    _tell(move(connection, Verb.ACTIVATE, keyid, local=local), as_json=as_json)


@click.command()
@click.argument("keyid")
@local_option
@administration_options
@json_option
def retire(keyid: str, local: bool, connection: Connection, as_json: bool) -> None:
    """Take a key out of use that the imported metadata no longer lists, or that never was active.

    If it was the active one, nothing is signed for its line until another key is activated.
    """
    _tell(move(connection, Verb.RETIRE, keyid, local=local), as_json=as_json)


def _tell(key: wire.LineKey, *, as_json: bool) -> None:
    if as_json:
        print_json(described(key))
    else:
        click.echo(f"Key {key.keyid} of line '{key.line}' is {state_of(key)}.")
