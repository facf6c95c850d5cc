"""``wharfinger keys list`` and ``wharfinger keys show``."""

from __future__ import annotations

import click

from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger_daemon.cli.administration import Connection, administration_options
from wharfinger_daemon.cli.keys.described import as_json as described
from wharfinger_daemon.cli.keys.described import print_key, state_of
from wharfinger_daemon.cli.keys.reaching import all_keys, look_option, one_key
from wharfinger_daemon.cli.program import json_option, print_json

_SHOWN_DIGITS = 12


@click.command(name="list")
@click.option("--repository", metavar="NAME", help="Only the keys of this repository.")
@look_option
@administration_options
@json_option
def list_keys(repository: str | None, local: bool, connection: Connection, as_json: bool) -> None:
    """List the keys of all lines, destroyed ones too, the newest first."""
    keys = all_keys(connection, local=local, repository=repository)
    if as_json:
        print_json({"keys": [described(key, token_asked=not local) for key in keys]})
        return
    rows: list[tuple[str, ...]] = [("key", "line", "state", "label", "held", "needed by", "listed for")]
    rows += [_row(key, token_asked=not local) for key in keys]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(key: wire.LineKey, *, token_asked: bool) -> tuple[str, ...]:
    held = ("yes" if key.held else "no") if token_asked else "?"
    return (
        key.keyid[:_SHOWN_DIGITS],
        f"{key.repository}/{key.line}",
        state_of(key),
        key.label,
        held,
        str(key.needed_by),
        ", ".join(key.roles) or "nothing",
    )


@click.command()
@click.argument("keyid")
@look_option
@administration_options
@json_option
def show(keyid: str, local: bool, connection: Connection, as_json: bool) -> None:
    """Show all there is to say of one key."""
    print_key(one_key(connection, keyid, local=local), json=as_json, token_asked=not local)
