"""Opens the servers: gRPC for callers and for administrators, HTTP for the CDN and for administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc.aio
from starlette.routing import BaseRoute

from wharfinger_daemon.config import RateSettings, Settings
from wharfinger_daemon.health import HealthWatch
from wharfinger_daemon.http.administration import build_administration_app
from wharfinger_daemon.http.metadata_files import ServingLimits
from wharfinger_daemon.http.public import build_public_app
from wharfinger_daemon.http.server import HttpServer
from wharfinger_daemon.metadata.reading import MetadataReader
from wharfinger_daemon.rpc.callers import CallerDirectory, Grants
from wharfinger_daemon.rpc.passage import Checkpoint, Limits
from wharfinger_daemon.rpc.room import Room
from wharfinger_daemon.rpc.server import HealthReport, Service, TlsFiles, build_server
from wharfinger_daemon.signing.model import Rate, SigningGrant
from wharfinger_daemon.telemetry import Metrics

_MEBIBYTE = 1024 * 1024
# For answers that are on their way. Calls were waited for before; what is left are watches, which never end.
_STOP_SECONDS = 1.0


@dataclass(frozen=True)
class GrpcServers:
    """The two gRPC servers, seen from the lifecycle."""

    room: Room
    reports: tuple[HealthReport, ...]


async def open_grpc(
    settings: Settings,
    services: Sequence[Service],
    administrative: Sequence[Service],
    metrics: Metrics,
    stack: AsyncExitStack,
) -> GrpcServers:
    """Starts both gRPC servers; they say NOT_SERVING until the first round of health has passed.

    Args:
        services: for callers.
        administrative: for administrators, on the other address alone.

    Raises:
        StartupError: an address is taken, or TLS files cannot be read.
    """
    room = Room(settings.grpc.max_concurrent_requests, metrics.rpcs_running)
    checkpoint = Checkpoint(_callers(settings), _limits(settings), room, metrics)
    files = settings.grpc.tls
    tls = TlsFiles(files.certificate_file, files.key_file, files.client_ca_file)
    reports = []
    servers: list[grpc.aio.Server] = []

    async def stop() -> None:
        await asyncio.gather(*(server.stop(_STOP_SECONDS) for server in servers))

    stack.push_async_callback(stop)
    names = list(dict.fromkeys(service.name for service in (*services, *administrative)))
    addresses = ((settings.grpc.address, services), (settings.administration.grpc_address, administrative))
    for address, offered in addresses:
        report = HealthReport(names)
        await report.set_all_serving(serving=False)
        server = build_server(address, tls, checkpoint, offered, report)
        servers.append(server)
        await server.start()
        reports.append(report)
    return GrpcServers(room, tuple(reports))


async def open_http(
    settings: Settings,
    reader: MetadataReader | None,
    health: HealthWatch,
    metrics: Metrics,
    review: Sequence[BaseRoute],
    stack: AsyncExitStack,
) -> None:
    """Starts both HTTP servers.

    Args:
        review: the routes of the review pages, for the administrative one.

    Raises:
        StartupError: an address is taken.
    """
    public = build_public_app(
        reader,
        health.readiness,
        limits=ServingLimits(
            settings.http.timestamp_max_age_seconds,
            settings.http.compressed_cache_mib * _MEBIBYTE,
            settings.http.max_sending_mib * _MEBIBYTE,
        ),
        targets_directory=settings.http.targets_directory,
    )
    administration = build_administration_app(metrics.registry, review)
    for app, address in (
        (public, settings.http.address),
        (administration, settings.administration.http_address),
    ):
        server = HttpServer(app, address)
        await server.start()
        stack.push_async_callback(server.stop)


def _callers(settings: Settings) -> CallerDirectory:
    return CallerDirectory(
        Grants(
            caller.name,
            caller.san,
            caller.rpcs,
            caller.repositories,
            caller.roles,
            tuple(SigningGrant(one.repositories, one.roles, _rate(one.rate)) for one in caller.grants),
            _rate(caller.rate),
        )
        for caller in settings.callers
    )


def _rate(rate: RateSettings | None) -> Rate | None:
    return None if rate is None else Rate(rate.signatures_per_second, rate.burst)


def _limits(settings: Settings) -> Limits:
    grpc = settings.grpc
    return Limits(
        message_bytes=grpc.max_message_mib * _MEBIBYTE,
        default_deadline_seconds=grpc.default_deadline_seconds,
        max_deadline_seconds=grpc.max_deadline_seconds,
        min_deadline_seconds=grpc.min_deadline_seconds,
    )
