"""What a client needs to know: where the daemon is, who both are, how long to wait and when to try again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from wharfinger_client.errors import SettingsError

Pem = str | os.PathLike[str] | bytes
"""PEM text: the path of a file that holds it (``str`` or path-like), or the text itself (``bytes``)."""

DEFAULT_MAX_MESSAGE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class TlsIdentity:
    """Who the daemon must be, and who the caller is. Files are read when the first call is made, and never before.

    Attributes:
        ca: the certificates of the authorities that may vouch for the daemon.
        certificate: the caller's certificate, with intermediate ones if there are any.
        key: the caller's private key. Not shown by ``repr``.
        server_name: the name that the daemon's certificate must have; empty for the host in the address.
    """

    ca: Pem = field(repr=False)
    certificate: Pem = field(repr=False)
    key: Pem = field(repr=False)
    server_name: str = ""


@dataclass(frozen=True)
class Deadlines:
    """The seconds that a call may take when the caller gives no ``timeout``, with all its repetitions.

    Attributes:
        read: reading metadata, targets, keys, scans and health.
        sign: ``sign`` and ``lint``.
        publish: ``publish_targets``, which returns when clients can see the change.
        scan: ``scan_file``, with the upload.
        submit: ``create_scan``, which does not wait for the scan.
    """

    read: float = 10.0
    sign: float = 15.0
    publish: float = 60.0
    scan: float = 150.0
    submit: float = 10.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) <= 0:
                raise ValueError(f"Deadlines.{each.name} must be more than 0 seconds.")


@dataclass(frozen=True)
class RetryPolicy:
    """When a call is made again.

    Only UNAVAILABLE and RESOURCE_EXHAUSTED are tried again, because every RPC of the contract is documented as
    repeating safely and only these codes say that a repetition may help. The pause doubles from ``initial_seconds`` to
    ``max_seconds``; half of it is random, so that callers that failed together do not come back together. A pause that
    the daemon asks for (``google.rpc.RetryInfo``) is added in full. A pause that would outlast the deadline is not
    begun: the call fails at once.

    Attributes:
        max_attempts: calls in all; 1 to never try again.
    """

    max_attempts: int = 5
    initial_seconds: float = 0.2
    max_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 100:
            raise ValueError("RetryPolicy.max_attempts must be 1 to 100.")
        if not 0 < self.initial_seconds <= self.max_seconds:
            raise ValueError("RetryPolicy.initial_seconds must be more than 0 and at most max_seconds.")

    def pause_before_next(self, attempt: int, *, retry_after: float | None, random: float) -> float | None:
        """The seconds to wait after failed attempt number ``attempt`` (from 1), or None if that was the last one.

        ``random`` is a number from 0 to 1 that spreads the pause between one half and all of the back-off.
        """
        if attempt >= self.max_attempts:
            return None
        backoff = min(self.initial_seconds * 2.0 ** (attempt - 1), self.max_seconds)
        return backoff * (0.5 + 0.5 * random) + (retry_after or 0.0)


@dataclass(frozen=True)
class ClientSettings:
    """Everything that a client is told. Nothing is read or connected before the first call.

    Attributes:
        address: where the daemon listens, ``HOST:PORT``.
        max_message_bytes: the largest message that is sent or received. Artifacts are streamed and may be larger.
    """

    address: str
    tls: TlsIdentity
    deadlines: Deadlines = Deadlines()
    retry: RetryPolicy = RetryPolicy()
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES


def read_pem(pem: Pem, *, what: str) -> bytes:
    """The PEM text. ``what`` names it in errors.

    Raises:
        SettingsError: the file cannot be read, or there is no PEM block in it.
    """
    if isinstance(pem, bytes):
        content, origin = pem, "the bytes given"
    else:
        origin = os.fspath(pem)
        try:
            content = Path(pem).read_bytes()
        except OSError as error:
            raise SettingsError(f"The {what} cannot be read from {origin}: {error.strerror}.") from error
    # gRPC itself says nothing of a wrong file but that no connection could be made.
    if b"-----BEGIN " not in content:
        raise SettingsError(f"The {what} in {origin} is not PEM: it has no BEGIN line.")
    return content
