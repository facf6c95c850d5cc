"""``wharfinger signing suspend``, ``resume`` and ``status``."""

from __future__ import annotations

from datetime import UTC

import click

from wharfinger_daemon.cli.administration import Connection, administration_options
from wharfinger_daemon.cli.program import json_option, print_json
from wharfinger_daemon.cli.signing import reaching
from wharfinger_daemon.signing.suspension import Suspension

_local_option = click.option(
    "--local", is_flag=True, help="Without the daemon, which must be stopped: open the database on this host."
)


@click.command()
@click.argument("repository")
@click.option("--reason", required=True, help="Why: for the log, and for whoever is refused. One line.")
@_local_option
@administration_options
@json_option
def suspend(repository: str, reason: str, local: bool, connection: Connection, as_json: bool) -> None:
    """Refuse every signature for REPOSITORY, to callers and to the publisher, from now on and across restarts.

    What is published goes on being served, until it expires: mind how long that is. Suspending again replaces the
    reason.
    """
    suspension = reaching.suspend(connection, repository, reason, local=local)
    if as_json:
        print_json(_described(suspension))
    else:
        click.echo(f"Nothing is signed for repository '{repository}' any more, until it is resumed.")


@click.command()
@click.argument("repository")
@_local_option
@administration_options
@json_option
def resume(repository: str, local: bool, connection: Connection, as_json: bool) -> None:
    """Let REPOSITORY be signed for again. What waits for publication follows within seconds."""
    reaching.resume(connection, repository, local=local)
    if as_json:
        print_json({"repository": repository, "suspended": False})
    else:
        click.echo(f"Repository '{repository}' is signed for again.")


@click.command()
@click.option("--local", is_flag=True, help="Without the daemon: open the database on this host.")
@administration_options
@json_option
def status(local: bool, connection: Connection, as_json: bool) -> None:
    """Show which repositories are suspended, since when, by whom and why."""
    suspensions = reaching.suspensions(connection, local=local)
    if as_json:
        print_json({"suspensions": [_described(one) for one in suspensions]})
    elif not suspensions:
        click.echo("No repository is suspended.")
    else:
        for one in suspensions:
            since = one.since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            click.echo(f"{one.repository}: suspended since {since} by {one.caller}: {one.reason}")


def _described(suspension: Suspension) -> dict[str, object]:
    return {
        "repository": suspension.repository,
        "suspended": True,
        "reason": suspension.reason,
        "caller": suspension.caller,
        "since": suspension.since.astimezone(UTC).isoformat(),
    }
