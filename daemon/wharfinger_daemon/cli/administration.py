"""How commands reach the daemon's administrative address: options, connection, and errors in words.

@group.command()
@administration_options
def act(connection: Connection) -> None:
    with key_administration(connection) as stub:
        stub.RetireKey(keys_pb2.RetireKeyRequest(keyid=keyid))
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from wharfinger.keys.v1 import keys_pb2_grpc
from wharfinger_daemon import config
from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, config_option, configuration_file
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.rpc.status import DETAILS_KEY

Command = TypeVar("Command", bound=Callable[..., Any])

_TIMEOUT_SECONDS = 60.0
_LARGEST_MESSAGE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Identity:
    """Files of PEM: the authority of the daemon's certificate, the caller's certificate, and its private key."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Connection:
    """Where the daemon is, and how a command shows who asks. What is None comes from the configuration and its folder.

    Attributes:
        config_path: None for the configuration of the home.
        address: ``HOST:PORT``.
        ca: PEM of the authority that signed the daemon's certificate.
        certificate: PEM of the caller's certificate; ``key`` of its private key.
    """

    config_path: Path | None = None
    address: str | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return configuration_file(self.config_path)

    @property
    def target(self) -> str:
        """The daemon's administrative address.

        Raises:
            StartupError: it is not named, and there is no configuration that does.
        """
        return self.address or config.load(self.configuration).administration.grpc_address

    def credentials(self) -> grpc.ChannelCredentials:
        """What a channel is opened with.

        Raises:
            StartupError: CONFIGURATION_INVALID; a file cannot be read.
        """
        identity = self.identity("security")
        return grpc.ssl_channel_credentials(
            root_certificates=_read("--ca", identity.ca),
            private_key=_read("--key", identity.key),
            certificate_chain=_read("--certificate", identity.certificate),
        )

    def identity(self, caller: str) -> Identity:
        """The files that show who asks: those that were named, or a caller's beside the configuration."""
        beside = self.configuration.parent / "tls"
        return Identity(
            ca=self.ca or beside / "ca.crt",
            certificate=self.certificate or beside / f"{caller}.crt",
            key=self.key or beside / f"{caller}.key",
        )


_FILE = click.Path(dir_okay=False, path_type=Path)


def administration_options(command: Command) -> Command:
    """Gives a command the options that name the daemon; it gets them as ``connection``, a ``Connection``."""
    return connection_options(command, "administration.grpc_address", "security")


def connection_options(command: Command, address_key: str, caller: str) -> Command:
    """The same for another address and caller of the configuration."""

    @functools.wraps(command)
    def connected(
        *arguments: Any,
        config_path: Path | None,
        address: str | None,
        ca: Path | None,
        certificate: Path | None,
        key: Path | None,
        **options: Any,
    ) -> Any:
        connection = Connection(config_path, address, ca, certificate, key)
        return command(*arguments, connection=connection, **options)

    options = (
        config_option,
        click.option("--address", metavar="HOST:PORT", help=f"The daemon. By default {address_key}."),
        click.option(
            "--ca", type=_FILE, help="The authority of its certificate. By default tls/ca.crt beside the configuration."
        ),
        click.option("--certificate", type=_FILE, help=f"Yours. By default tls/{caller}.crt beside the configuration."),
        click.option("--key", type=_FILE, help=f"Its private key. By default tls/{caller}.key beside it."),
    )
    for option in reversed(options):
        connected = option(connected)
    return connected  # type: ignore[return-value]  # A command still, with other parameters.


@contextmanager
def key_administration(connection: Connection) -> Iterator[keys_pb2_grpc.KeyAdminServiceStub]:
    """A blocking stub. A call without a timeout of its own has 60 seconds.

    What the daemon refuses ends the program: with the daemon's message, its reason, and exit status 2.

    Raises:
        StartupError: the configuration or a TLS file cannot be read.
    """
    with administration_channel(connection) as channel:
        yield keys_pb2_grpc.KeyAdminServiceStub(channel)


@contextmanager
def administration_channel(connection: Connection) -> Iterator[grpc.Channel]:
    """The same for whichever service the administrative address offers."""
    target = connection.target
    options = [
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        # The daemon must see the caller's own certificate: no proxy of the environment.
        ("grpc.enable_http_proxy", 0),
    ]
    with grpc.secure_channel(target, connection.credentials(), options) as channel:
        try:
            yield grpc.intercept_channel(channel, _InTime())
        except grpc.RpcError as error:
            click.echo(f"wharfinger: {_told(error, target)}", err=True)
            sys.exit(EXIT_COULD_NOT_RUN)


class _InTime(grpc.UnaryUnaryClientInterceptor):
    """Gives every call a deadline, so that no command waits for ever."""

    def intercept_unary_unary(
        self, continuation: Callable[[grpc.ClientCallDetails, Any], Any], details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        if details.timeout is None:
            details = _Details(details)
        return continuation(details, request)


class _Details(grpc.ClientCallDetails):
    def __init__(self, details: grpc.ClientCallDetails) -> None:
        self.method = details.method
        self.timeout = _TIMEOUT_SECONDS
        self.metadata = details.metadata
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


def _told(error: grpc.RpcError, target: str) -> str:
    call: Any = error  # RpcError itself declares nothing; what a blocking channel raises is a Call, too.
    reason = _reason(call.trailing_metadata())
    if reason:
        return f"{call.details()} ({reason})"
    if call.code() is grpc.StatusCode.UNAVAILABLE:
        return (
            f"No daemon can be reached at {target}: {call.details()}. Check that it runs, that it knows this "
            "certificate's authority, and that --ca is its own. On the signing host, with the daemon stopped, --local "
            "does without it."
        )
    if call.code() is grpc.StatusCode.UNIMPLEMENTED:
        return f"What answers at {target} has no such service. Name the administrative address of a daemon that signs."
    return f"The daemon at {target} failed: {call.code().name}: {call.details()}"


def _reason(trailing_metadata: Any) -> str:
    """The stable reason of an error; empty if it has none."""
    value = next((value for key, value in trailing_metadata or () if key == DETAILS_KEY), b"")
    try:
        status = Status.FromString(value)
        info = ErrorInfo()
        for detail in status.details:
            if detail.Unpack(info):
                return str(info.reason)
    except DecodeError:
        pass
    return ""


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(
            f"{path} cannot be read: {error.strerror}. Name the right file with {option}.",
            reason=Reason.CONFIGURATION_INVALID,
        ) from error
