"""Errors on the wire: one table from ``errors.py`` to gRPC codes, with ``google.rpc.ErrorInfo`` (AIP-193)."""

from __future__ import annotations

import math

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from wharfinger_daemon import errors
from wharfinger_daemon.errors import RateLimitedError, Reason, WharfingerError

DOMAIN = "wharfinger"
DETAILS_KEY = "grpc-status-details-bin"

CODES: dict[type[WharfingerError], grpc.StatusCode] = {
    errors.InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotGrantedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.RefusedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.CorruptStateError: grpc.StatusCode.DATA_LOSS,
    errors.StartupError: grpc.StatusCode.INTERNAL,
}

_RETRY_AFTER_SECONDS: dict[grpc.StatusCode, float] = {
    grpc.StatusCode.UNAVAILABLE: 1,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 1,
}
# Trailers beyond 8 KiB are dropped by clients, and the error with them. A message goes out twice, and in the worst case
# every byte of it as three.
_MESSAGE_BYTES = 1024
_DETAIL_BYTES = 256
# What is too large today is too large tomorrow.
_NEVER_PASSES = (Reason.MESSAGE_TOO_LARGE, Reason.ARTIFACT_TOO_LARGE)


def code_of(error: WharfingerError) -> grpc.StatusCode:
    """The gRPC code of an error: that of the nearest class in the table."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), grpc.StatusCode.INTERNAL)


def abridged(error: WharfingerError) -> WharfingerError:
    """The same error with nothing longer than fits into trailers, whatever of the request it quotes."""
    details = {name: _clipped(value, _DETAIL_BYTES) for name, value in error.details.items()}
    told = type(error)(_clipped(error.message, _MESSAGE_BYTES), reason=error.reason, **details)
    if isinstance(error, RateLimitedError) and isinstance(told, RateLimitedError):
        told.retry_after_seconds = error.retry_after_seconds
    return told


def details_of(error: WharfingerError, request_id: str) -> bytes:
    """The serialized ``google.rpc.Status`` for the trailing metadata key ``grpc-status-details-bin``."""
    code = code_of(error)
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={**error.details, "request_id": request_id})
    status = Status(code=code.value[0], message=error.message, details=[_packed(info)])
    seconds = _RETRY_AFTER_SECONDS.get(code)
    if isinstance(error, RateLimitedError):
        seconds = error.retry_after_seconds
    if seconds is not None and error.reason not in _NEVER_PASSES:
        status.details.append(_packed(RetryInfo(retry_delay=_duration(seconds))))
    serialized: bytes = status.SerializeToString()
    return serialized


def _clipped(text: str, most: int) -> str:
    encoded = text.encode("utf-8", errors="replace")
    return text if len(encoded) <= most else encoded[: most - 4].decode("utf-8", errors="ignore") + " …"


def _duration(seconds: float) -> Duration:
    # Rounded up: whoever comes back at that very instant must not be too early.
    milliseconds = math.ceil(seconds * 1000)
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def _packed(message: ErrorInfo | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
