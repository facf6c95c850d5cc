"""``wharfinger root import``, and the same for ``bins``: files of root, targets and bins at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.local_import import import_locally
from wharfinger_daemon.cli.administration import Connection, administration_options, key_administration
from wharfinger_daemon.cli.program import json_option, print_json
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.keys.importing import ImportedFile, ImportOutcome

# With 'revoke', every bin is signed anew before the answer.
_TIMEOUT_SECONDS = 600.0


@click.command(name="import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
)
@click.option("--repository", help="Its name in the daemon's configuration. By default the one that is published here.")
@click.option(
    "--revoke",
    is_flag=True,
    help="After a compromise: drop keys that published metadata still needs, activate their successors, and sign "
    "everything anew at once. Clients that refresh while the new root replaces the old have to try again.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option(
    "--local",
    is_flag=True,
    help="Without the daemon, which must be stopped, and without the token: the next start finishes the import.",
)
@administration_options
@json_option
def import_metadata(
    files: Sequence[Path],
    repository: str | None,
    revoke: bool,
    dry_run: bool,
    local: bool,
    connection: Connection,
    as_json: bool,
) -> None:
    """Bring a ceremony's metadata to the daemon: FILES such as 2.root.json and 2.bins.json, together.

    The daemon verifies them from the trusted root, publishes them, and trusts them from then on. It refuses metadata
    under which clients would refuse what is published.
    """
    brought = [ImportedFile(file.name, file.read_bytes()) for file in files]
    name = repository or _published_here(connection)
    if local:
        _require_no_address(connection)
        settings = config.load(connection.configuration)
        work = import_locally(settings, SystemClock(), name, brought, revoke=revoke, dry_run=dry_run)
        outcome = asyncio.run(work)
    else:
        outcome = _ask(connection, name, brought, revoke=revoke, dry_run=dry_run)
    if as_json:
        print_json(
            {
                "repository": name,
                "taken": list(outcome.taken),
                "versions": dict(outcome.versions),
                "timestamp_version": outcome.timestamp_version,
            }
        )
    else:
        _tell(outcome, local=local, dry_run=dry_run)


def _ask(
    connection: Connection, repository: str, files: Sequence[ImportedFile], *, revoke: bool, dry_run: bool
) -> ImportOutcome:
    request = wire.ImportMetadataRequest(
        repository=repository,
        files=[wire.MetadataFile(name=file.name, content=file.content) for file in files],
        revoke=revoke,
        dry_run=dry_run,
    )
    with key_administration(connection) as stub:
        answer = stub.ImportMetadata(request, timeout=_TIMEOUT_SECONDS)
    return ImportOutcome(tuple(answer.taken), dict(answer.versions), answer.timestamp_version)


def _tell(outcome: ImportOutcome, *, local: bool, dry_run: bool) -> None:
    newest = ", ".join(f"{role} {version}" for role, version in sorted(outcome.versions.items()))
    if not outcome.taken:
        click.echo(f"Nothing is new. Trusted are {newest}.")
    elif dry_run:
        click.echo(f"Would be taken: {', '.join(outcome.taken)}. Trusted would be {newest}.")
    elif local:
        click.echo(f"Staged: {', '.join(outcome.taken)}. Start the daemon: it brings them to clients first of all.")
    else:
        shown = f" Clients see them from timestamp {outcome.timestamp_version} on." if outcome.timestamp_version else ""
        click.echo(f"Taken: {', '.join(outcome.taken)}. Trusted are {newest}.{shown}")


def _published_here(connection: Connection) -> str:
    settings = config.load(connection.configuration)
    if settings.metadata is not None:
        return settings.metadata.repository
    if len(settings.repositories) == 1:
        return settings.repositories[0].name
    raise click.UsageError("The configuration has several repositories. Name one with --repository.")


def _require_no_address(connection: Connection) -> None:
    if any((connection.address, connection.ca, connection.certificate, connection.key)):
        raise click.UsageError("--local asks no daemon: leave --address, --ca, --certificate and --key out.")
