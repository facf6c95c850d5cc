"""From gRPC errors to the client's own: the one table.

Details come in the trailing metadata ``grpc-status-details-bin`` as a ``google.rpc.Status`` (AIP-193). It is decoded
here, because grpcio-status is not among the base dependencies.
"""

from __future__ import annotations

from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from wharfinger_client import errors

_DETAILS_KEY = "grpc-status-details-bin"

_ERRORS: dict[grpc.StatusCode, type[errors.WharfingerError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: errors.NotAuthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotGrantedError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.RefusedError,
    grpc.StatusCode.ALREADY_EXISTS: errors.RefusedError,
    grpc.StatusCode.ABORTED: errors.RefusedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.OverloadedError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
}

# RESOURCE_EXHAUSTED also means "too large", which no repetition cures. gRPC itself says so in words only.
_TOO_LARGE_REASONS = frozenset({"ARTIFACT_TOO_LARGE", "MESSAGE_TOO_LARGE"})
_TOO_LARGE_WORDS = "larger than max"

MessageT = TypeVar("MessageT", bound=Message)


def wharfinger_error(rpc_error: grpc.RpcError, *, address: str, request_id: str) -> errors.WharfingerError:
    """The error to raise for a call that gRPC says has failed, on a channel of either kind."""
    call: Any = rpc_error  # RpcError itself declares nothing; what either kind of channel raises is a grpc.Call too.
    code: grpc.StatusCode = call.code()
    words: str = call.details() or "no details were given"
    status = _status(call.trailing_metadata())
    info = _detail(status, error_details_pb2.ErrorInfo)
    retry = _detail(status, error_details_pb2.RetryInfo)
    failure = errors.Failure(
        code=code.name,
        reason=info.reason if info else "",
        metadata=dict(info.metadata) if info else {},
        request_id=request_id,
        retry_after=max(retry.retry_delay.ToTimedelta().total_seconds(), 0.0) if retry else None,
    )
    return _error_class(code, failure.reason, words)(_message(code, failure.reason, words, address), failure)


def _error_class(code: grpc.StatusCode, reason: str, words: str) -> type[errors.WharfingerError]:
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and (
        reason in _TOO_LARGE_REASONS or (not reason and _TOO_LARGE_WORDS in words)
    ):
        return errors.TooLargeError
    return _ERRORS.get(code, errors.ServerError)


def _message(code: grpc.StatusCode, reason: str, words: str, address: str) -> str:
    if code is grpc.StatusCode.UNAVAILABLE and not reason:
        return (
            f"No connection to the daemon at {address}: {words}. Check that it runs there, that its certificate has "
            "the expected name and is signed by the given CA, and that it trusts the caller's certificate."
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"The daemon at {address} does not serve this RPC: {words}. It may be older, or have other roles."
    return words


def _status(trailing_metadata: Any) -> status_pb2.Status:
    """The details, or none if there are none or they are broken: the code and the words stand without them."""
    value = next((value for key, value in trailing_metadata or () if key == _DETAILS_KEY), b"")
    try:
        return status_pb2.Status.FromString(value)
    except DecodeError:
        return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: type[MessageT]) -> MessageT | None:
    for detail in status.details:
        message = kind()
        try:
            if detail.Unpack(message):
                return message
        except DecodeError:
            continue
    return None
