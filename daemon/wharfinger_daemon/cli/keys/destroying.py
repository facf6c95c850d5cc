"""``wharfinger keys destroy``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.local_keys import LocalKeys, look_again, open_local_keys
from wharfinger_daemon.cli.keys.described import named_by
from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, config_option, configuration_file, json_option, print_json
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.custody.opening import startup_errors
from wharfinger_daemon.keys.destruction import Destruction
from wharfinger_daemon.keys.life_cycle import LineKey
from wharfinger_daemon.keys.records import LOCAL
from wharfinger_daemon.keys.succession import Situation
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_hsm.errors import KeyNotFoundError

_TYPED_DIGITS = 8


@click.command()
@click.argument("keyid")
@click.option("--confirm", metavar="KEYID", help="The whole id again, instead of typing the beginning of it.")
@config_option
@json_option
def destroy(keyid: str, confirm: str | None, config_path: Path | None, as_json: bool) -> None:
    """Destroy a key on every token that holds it, for ever, on this host; a daemon may be running.

    Refused for an active key, for one that the verified metadata lists, and while the newest version of a role has its
    signature from it. Copies that somebody made elsewhere, such as a backup of the token, are not reached.
    """
    settings = config.load(configuration_file(config_path))
    destroyed = asyncio.run(_destroy(settings, keyid, confirm))
    if as_json:
        print_json(
            {"keyid": destroyed.keyid, "line": destroyed.line, "label": destroyed.label, "state": destroyed.state}
        )
    else:
        click.echo(f"Key {destroyed.keyid} ('{destroyed.label}') is destroyed.")


async def _destroy(settings: Settings, prefix: str, confirmed: str | None) -> LineKey:
    async with open_local_keys(settings, SystemClock(), token=True, alone=False) as local:
        reports = await local.administration.list_keys()
        keyid = named_by(prefix, (report.key.keyid for report in reports))
        name = (await local.administration.get(keyid)).repository
        key = await (await _destruction(local, name, keyid)).require_allowed()
        if key.state is KeyState.DESTROYED:
            return key
        _confirm(key, confirmed)
        # While somebody typed, a daemon may have taken in metadata that lists the key.
        await look_again(local, SystemClock())
        destruction = await _destruction(local, name, keyid)
        await destruction.require_allowed()
        await destruction.begin()
        with startup_errors():
            await _destroy_everywhere(local, key)
        return await destruction.finish()


async def _destruction(local: LocalKeys, repository: str, keyid: str) -> Destruction:
    """The destruction of a key, as things stand now."""
    with startup_errors():
        held = {key.public_key: key.label for key in await local.the_token().keys()}
    trusted = local.standing.now.repository(repository)
    situation = Situation(trusted, tuple(local.lines.of(repository)), held, SystemClock().now())
    return Destruction(local.records, situation, keyid, SystemClock(), caller=LOCAL)


async def _destroy_everywhere(local: LocalKeys, key: LineKey) -> None:
    try:
        await local.the_token().destroy(key.public_key)
    except KeyNotFoundError:
        # All tokens answered. It was destroyed by a run that could not write it down, or this would have been refused.
        click.echo("wharfinger: no token holds the key any more.", err=True)


def _confirm(key: LineKey, confirmed: str | None) -> None:
    wanted = key.keyid if confirmed is not None else key.keyid[:_TYPED_DIGITS]
    if (_typed(key) if confirmed is None else confirmed) != wanted:
        click.echo("wharfinger: that is not this key's id. Nothing was destroyed.", err=True)
        sys.exit(EXIT_COULD_NOT_RUN)


def _typed(key: LineKey) -> str:
    asked = (
        f"This destroys key {key.keyid} ('{key.label}', line '{key.line}', {key.state}) for ever.\n"
        f"Type the first {_TYPED_DIGITS} digits of its id to go on"
    )
    try:
        return str(click.prompt(asked, err=True))
    except click.Abort:  # Nobody is there to type.
        return ""
