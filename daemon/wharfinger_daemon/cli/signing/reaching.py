"""The switch by way of the running daemon, or, with ``--local``, without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC

import click

from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.local_keys import open_local_keys
from wharfinger_daemon.cli.administration import Connection, key_administration
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.signing.suspension import Suspension, Suspensions
from wharfinger_daemon.storage.suspensions import SqlSuspensions

_LOCAL = "local"


def suspend(connection: Connection, repository: str, reason: str, *, local: bool) -> Suspension:
    """Has a repository suspended; returns the suspension as it stands."""
    if local:
        return asyncio.run(_suspend_locally(connection, repository, reason))
    with key_administration(connection) as stub:
        reply = stub.SuspendSigning(wire.SuspendSigningRequest(repository=repository, reason=reason))
        return _suspension(reply.suspension)


def resume(connection: Connection, repository: str, *, local: bool) -> None:
    """Has a suspension ended."""
    if local:
        asyncio.run(_resume_locally(connection, repository))
        return
    with key_administration(connection) as stub:
        stub.ResumeSigning(wire.ResumeSigningRequest(repository=repository))


def suspensions(connection: Connection, *, local: bool) -> list[Suspension]:
    """All suspensions."""
    if local:
        return asyncio.run(_all_locally(connection))
    with key_administration(connection) as stub:
        reply = stub.ListSuspensions(wire.ListSuspensionsRequest())
        return [_suspension(one) for one in reply.suspensions]


async def _suspend_locally(connection: Connection, repository: str, reason: str) -> Suspension:
    async with _opened(connection, alone=True) as switch:
        return await switch.suspend(repository, reason, caller=_LOCAL)


async def _resume_locally(connection: Connection, repository: str) -> None:
    async with _opened(connection, alone=True) as switch:
        await switch.resume(repository, caller=_LOCAL)


async def _all_locally(connection: Connection) -> list[Suspension]:
    async with _opened(connection, alone=False) as switch:
        return await switch.all()


@asynccontextmanager
async def _opened(connection: Connection, *, alone: bool) -> AsyncIterator[Suspensions]:
    if any((connection.address, connection.ca, connection.certificate, connection.key)):
        raise click.UsageError("--local asks no daemon: leave --address, --ca, --certificate and --key out.")
    settings, clock = config.load(connection.configuration), SystemClock()
    async with open_local_keys(settings, clock, token=False, alone=alone) as local:
        yield Suspensions(SqlSuspensions(local.journal), local.standing, clock)


def _suspension(told: wire.Suspension) -> Suspension:
    return Suspension(told.repository, told.reason, told.caller, told.since.ToDatetime(tzinfo=UTC))
