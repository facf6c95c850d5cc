"""Builds a gRPC server: TLS, the gate, the services, health and reflection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.rpc.gate import Gate
from wharfinger_daemon.rpc.passage import Checkpoint

# The transport takes a little more than the gate allows, so that a message that is only somewhat too large is answered
# with a reason. Anything beyond is cut off by gRPC itself.
_TRANSPORT_FACTOR = 2
# gRPC reads a message before the gate sees the call. So that waiting messages cannot fill the memory, it refuses calls
# by itself beyond this many times the places; streams that take no place count here too.
_CALLS_PER_PLACE = 4


@dataclass(frozen=True)
class Service:
    """A service: its full name and what adds its servicer to a server."""

    name: str
    add_to: Callable[[grpc.aio.Server], None]


@dataclass(frozen=True)
class TlsFiles:
    """What the server shows, and who signs the callers' certificates: PEM files."""

    certificate: Path
    key: Path
    client_ca: Path

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that demand a certificate of every caller.

        Raises:
            StartupError: a file cannot be read.
        """
        return grpc.ssl_server_credentials(
            [(_read(self.key), _read(self.certificate))],
            root_certificates=_read(self.client_ca),
            require_client_auth=True,
        )


class HealthReport:
    """What ``grpc.health.v1`` says: of the server as a whole ("") and of each service by its name."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self.servicer = health.aio.HealthServicer()

    async def set_serving(self, service: str, *, serving: bool) -> None:
        """Changes what is said of one service, and tells everyone who watches it."""
        status = health_pb2.HealthCheckResponse
        await self.servicer.set(service, status.SERVING if serving else status.NOT_SERVING)

    async def set_all_serving(self, *, serving: bool) -> None:
        """Changes what is said of all services."""
        for service in self._services:
            await self.set_serving(service, serving=serving)


def build_server(
    address: str, tls: TlsFiles, checkpoint: Checkpoint, services: Sequence[Service], report: HealthReport
) -> grpc.aio.Server:
    """A server bound to its address, not yet started.

    Raises:
        StartupError: the address is taken or not ours, or TLS files cannot be read.
    """
    options = [
        ("grpc.max_receive_message_length", checkpoint.limits.message_bytes * _TRANSPORT_FACTOR),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # A second daemon on the same port must fail, not share it.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.max_connection_age_ms", 3_600_000),
        ("grpc.max_connection_age_grace_ms", 600_000),
    ]
    server = grpc.aio.server(
        interceptors=[Gate(checkpoint)],
        options=options,
        maximum_concurrent_rpcs=checkpoint.room.places * _CALLS_PER_PLACE,
    )
    for service in services:
        service.add_to(server)
    health_pb2_grpc.add_HealthServicer_to_server(report.servicer, server)
    names = [service.name for service in services]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    credentials = tls.credentials()
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StartupError(
            f"gRPC cannot listen on {address}: it is in use, or not an address of this machine, or the TLS files "
            "do not fit each other. Look at the line above, free the address or configure another.",
            reason=Reason.ADDRESS_IN_USE,
        ) from error
    return server


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(
            f"The TLS file {path} cannot be read: {error.strerror}.", reason=Reason.CONFIGURATION_INVALID
        ) from error
