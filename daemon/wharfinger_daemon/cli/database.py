"""``wharfinger db``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from wharfinger_daemon import config
from wharfinger_daemon.cli.program import config_option, configuration_file, json_option, print_json
from wharfinger_daemon.storage import migrate
from wharfinger_daemon.storage.database import Database


@click.group(name="db")
def database() -> None:
    """Look after the database."""


@database.command()
@config_option
@json_option
def upgrade(config_path: Path | None, as_json: bool) -> None:
    """Bring the database to the schema of this version. Stop the daemon before; back the database up."""
    settings = config.load(configuration_file(config_path))
    with closing(Database.of(settings.database)) as opened:
        before, after = migrate.upgrade(opened)
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        click.echo(f"The database has revision {after} already.")
    else:
        click.echo(f"The database went from revision {before or 'none'} to {after}.")
