"""``wharfinger targets add`` and ``remove``: by way of the running daemon, as a caller like any other."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from wharfinger_client import Client, ClientSettings, PublicationResult, Target, TlsIdentity, WharfingerError
from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.local_targets import published_here
from wharfinger_daemon.cli.administration import Command, Connection, connection_options
from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, json_option, print_json
from wharfinger_daemon.metadata.targets import HASH_ALGORITHMS

_repository_option = click.option(
    "--repository", help="Its name in the daemon's configuration. By default the one that is published here."
)


def _caller_options(command: Command) -> Command:
    return connection_options(command, "grpc.address", "warehouse")


@click.command(name="add")
@click.argument("path")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    type=click.Choice(HASH_ALGORITHMS),
    help="Which hashes of FILE to list; may be repeated. By default sha256.",
)
@click.option("--length", type=click.IntRange(min=0), help="Bytes of the content, where FILE is not at hand.")
@click.option(
    "--hash", "hashes", multiple=True, metavar="ALGORITHM=HEX", help="A hash of the content, likewise; may be repeated."
)
@_repository_option
@_caller_options
@json_option
def add_target(
    path: str,
    file: Path | None,
    algorithms: Sequence[str],
    length: int | None,
    hashes: Sequence[str],
    repository: str | None,
    connection: Connection,
    as_json: bool,
) -> None:
    """List PATH with the length and hashes of FILE, or with those that are given, in the place of what it had.

    Returns when clients can see it.
    """
    if (file is None) == (length is None or not hashes) or (file is not None and (length is not None or hashes)):
        raise click.UsageError("Name FILE, or give --length and --hash in its place.")
    if file is not None:
        target = Target.from_file(path, file, algorithms=algorithms or ("sha256",))
    else:
        assert length is not None
        target = Target(path, length, dict(map(_hash, hashes)))
    _change(connection, repository, [target], [], as_json=as_json)


@click.command(name="remove")
@click.argument("paths", nargs=-1, required=True)
@_repository_option
@_caller_options
@json_option
def remove_targets(paths: Sequence[str], repository: str | None, connection: Connection, as_json: bool) -> None:
    """List PATHS no more: clients that refresh refuse to download them. A path that is not listed is no error.

    Returns when clients can see it.
    """
    _change(connection, repository, [], paths, as_json=as_json)


def _hash(given: str) -> tuple[str, str]:
    algorithm, separator, value = given.partition("=")
    if not separator:
        raise click.UsageError(f"--hash takes ALGORITHM=HEX, such as sha256=…, and not '{given}'.")
    return algorithm, value


def _change(
    connection: Connection, repository: str | None, add: Iterable[Target], remove: Iterable[str], *, as_json: bool
) -> None:
    settings = config.load(connection.configuration)
    name = repository or published_here(settings).name
    identity = connection.identity("warehouse")
    tls = TlsIdentity(ca=identity.ca, certificate=identity.certificate, key=identity.key)
    try:
        with Client(ClientSettings(connection.address or settings.grpc.address, tls)) as client:
            result = client.publish_targets(name, add=add, remove=remove)
    except WharfingerError as error:
        click.echo(f"wharfinger: {error}", err=True)
        sys.exit(EXIT_COULD_NOT_RUN)
    if as_json:
        print_json(
            {
                "repository": name,
                "timestamp_version": result.timestamp_version,
                "snapshot_version": result.snapshot_version,
                "bins": dict(result.bin_versions),
            }
        )
    else:
        click.echo(_told(result))


def _told(result: PublicationResult) -> str:
    if not result.bin_versions:
        return f"Nothing had to change: clients see it so in timestamp {result.timestamp_version}."
    bins = ", ".join(f"{role} {version}" for role, version in sorted(result.bin_versions.items()))
    return f"Published: {bins}. Clients see it from timestamp {result.timestamp_version} on."
