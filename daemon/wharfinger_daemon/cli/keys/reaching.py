"""Keys by way of the running daemon, or, with ``--local``, without one."""

from __future__ import annotations

import asyncio
from enum import StrEnum

import click

from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger.keys.v1 import keys_pb2_grpc
from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.local_keys import open_local_keys
from wharfinger_daemon.cli.administration import Connection, administration_channel
from wharfinger_daemon.cli.keys.described import named_by
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.keys.records import LOCAL
from wharfinger_daemon.rpc.keys import line_key

local_option = click.option(
    "--local",
    is_flag=True,
    help="Without the daemon, which must be stopped: open database, metadata and token on this host.",
)
look_option = click.option("--local", is_flag=True, help="Without the daemon: open database and metadata on this host.")


class Verb(StrEnum):
    """What can be asked for."""

    PUBLISH = "publish"
    ACTIVATE = "activate"
    RETIRE = "retire"


def all_keys(connection: Connection, *, local: bool, repository: str | None = None) -> list[wire.LineKey]:
    """All keys, the newest first. Locally the token is not asked."""
    if local:
        _require_no_address(connection)
        return asyncio.run(_all_locally(connection, repository))
    with administration_channel(connection) as channel:
        return _listed(keys_pb2_grpc.KeyServiceStub(channel), repository)


def one_key(connection: Connection, prefix: str, *, local: bool) -> wire.LineKey:
    """The key whose id begins so."""
    keys = all_keys(connection, local=local)
    keyid = named_by(prefix, (key.keyid for key in keys))
    return next(key for key in keys if key.keyid == keyid)


def move(connection: Connection, verb: Verb, prefix: str, *, local: bool) -> wire.LineKey:
    """Has a key moved; returns it as it is afterwards."""
    if local:
        _require_no_address(connection)
        return asyncio.run(_move_locally(connection, verb, prefix))
    with administration_channel(connection) as channel:
        keys = _listed(keys_pb2_grpc.KeyServiceStub(channel), None)
        keyid = named_by(prefix, (key.keyid for key in keys))
        stub = keys_pb2_grpc.KeyAdminServiceStub(channel)
        moved: wire.LineKey
        match verb:
            case Verb.PUBLISH:
                moved = stub.PublishKey(wire.PublishKeyRequest(keyid=keyid)).key
            case Verb.ACTIVATE:
                moved = stub.ActivateKey(wire.ActivateKeyRequest(keyid=keyid)).key
            case Verb.RETIRE:
                moved = stub.RetireKey(wire.RetireKeyRequest(keyid=keyid)).key
        return moved


def _listed(stub: keys_pb2_grpc.KeyServiceStub, repository: str | None) -> list[wire.LineKey]:
    keys: list[wire.LineKey] = []
    request = wire.ListKeysRequest(repository=repository or "")
    while True:
        page = stub.ListKeys(request)
        keys += page.keys
        if not page.next_page_token:
            return keys
        request.page_token = page.next_page_token


async def _all_locally(connection: Connection, repository: str | None) -> list[wire.LineKey]:
    settings = config.load(connection.configuration)
    async with open_local_keys(settings, SystemClock(), token=False, alone=False) as local:
        return [line_key(report) for report in await local.administration.list_keys(repository)]


async def _move_locally(connection: Connection, verb: Verb, prefix: str) -> wire.LineKey:
    settings = config.load(connection.configuration)
    # A revoked key can be retired while the token is away.
    token = verb is not Verb.RETIRE
    async with open_local_keys(settings, SystemClock(), token=token, alone=True) as local:
        administration = local.administration
        keyid = named_by(prefix, [report.key.keyid for report in await administration.list_keys()])
        moves = {
            Verb.PUBLISH: administration.publish,
            Verb.ACTIVATE: administration.activate,
            Verb.RETIRE: administration.retire,
        }
        return line_key(await moves[verb](keyid, caller=LOCAL))


def _require_no_address(connection: Connection) -> None:
    if any((connection.address, connection.ca, connection.certificate, connection.key)):
        raise click.UsageError("--local asks no daemon: leave --address, --ca, --certificate and --key out.")
