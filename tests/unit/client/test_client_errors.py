"""gRPC errors become the client's own, with the daemon's reason."""

from __future__ import annotations

import pickle
from dataclasses import replace

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from tests.unit.client.conftest import Caller, FakeTime
from tests.unit.client.fake_daemon import Abort, FakeDaemon
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger_client import (
    ClientSettings,
    DeadlineExceededError,
    Failure,
    InvalidRequestError,
    NotAuthenticatedError,
    NotFoundError,
    NotGrantedError,
    OverloadedError,
    RefusedError,
    RetryPolicy,
    ServerError,
    TooLargeError,
    UnavailableError,
    WharfingerError,
)

INFO = error_details_pb2.ErrorInfo(reason="VERSION_ROLLBACK", domain="wharfinger", metadata={"item": "3"})
CODES = [
    (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError),
    (grpc.StatusCode.OUT_OF_RANGE, InvalidRequestError),
    (grpc.StatusCode.UNAUTHENTICATED, NotAuthenticatedError),
    (grpc.StatusCode.PERMISSION_DENIED, NotGrantedError),
    (grpc.StatusCode.NOT_FOUND, NotFoundError),
    (grpc.StatusCode.FAILED_PRECONDITION, RefusedError),
    (grpc.StatusCode.ALREADY_EXISTS, RefusedError),
    (grpc.StatusCode.ABORTED, RefusedError),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, OverloadedError),
    (grpc.StatusCode.UNAVAILABLE, UnavailableError),
    (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
    (grpc.StatusCode.INTERNAL, ServerError),
    (grpc.StatusCode.UNKNOWN, ServerError),
    (grpc.StatusCode.DATA_LOSS, ServerError),
    (grpc.StatusCode.UNIMPLEMENTED, ServerError),
    (grpc.StatusCode.CANCELLED, ServerError),
]


@pytest.mark.parametrize(("code", "expected"), CODES, ids=[code.name for code, _ in CODES])
def test_each_status_code_has_its_error(
    code: grpc.StatusCode, expected: type[WharfingerError], call: Caller, daemon: FakeDaemon
) -> None:
    daemon.script.set("GetTarget", Abort(code, "some words", (INFO,)))
    with pytest.raises(WharfingerError) as raised:
        call("get_target", "pypi", "a")
    error = raised.value
    assert expected is type(error)
    assert (code.name, "VERSION_ROLLBACK", {"item": "3"}) == (error.code, error.reason, error.metadata)
    assert daemon.received[0].request_id == error.request_id
    assert "some words" in error.message
    assert f"({code.name}, VERSION_ROLLBACK, request {error.request_id})" in str(error)


def test_the_code_and_the_words_stand_without_details(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("GetTarget", Abort(grpc.StatusCode.NOT_FOUND, ""))
    with pytest.raises(NotFoundError, match="no details were given") as raised:
        call("get_target", "pypi", "a")
    assert ("", {}, None) == (raised.value.reason, raised.value.metadata, raised.value.retry_after)


def _broken_inside() -> bytes:
    of_no_type = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
    return status_pb2.Status(details=[of_no_type]).SerializeToString()


@pytest.mark.parametrize("raw", [b"\xff\xff", _broken_inside()], ids=["status", "detail"])
def test_broken_details_do_not_hide_the_error(raw: bytes, call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("GetTarget", Abort(grpc.StatusCode.NOT_FOUND, "no such target", raw=raw))
    with pytest.raises(NotFoundError, match="no such target") as raised:
        call("get_target", "pypi", "a")
    assert "" == raised.value.reason


def test_retry_info_says_how_long_to_wait(call: Caller, daemon: FakeDaemon) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=700, nanos=500_000_000))
    daemon.script.set("GetTarget", Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", (INFO, retry)))
    with pytest.raises(OverloadedError) as raised:
        call("get_target", "pypi", "a")
    assert 700.5 == raised.value.retry_after


@pytest.mark.parametrize("reason", ["ARTIFACT_TOO_LARGE", "MESSAGE_TOO_LARGE"])
def test_too_large_is_no_overload_and_is_not_tried_again(
    reason: str, call: Caller, daemon: FakeDaemon, fake_time: FakeTime
) -> None:
    """The contract uses RESOURCE_EXHAUSTED for both, and a repetition of an upload would be in vain."""
    info = error_details_pb2.ErrorInfo(reason=reason)
    daemon.script.set("GetTarget", Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", (info,)))
    with pytest.raises(TooLargeError):
        call("get_target", "pypi", "a")
    assert [] == fake_time.pauses


def test_a_message_above_the_limit_of_the_client_is_too_large(
    call: Caller, daemon: FakeDaemon, settings: ClientSettings, fake_time: FakeTime
) -> None:
    """gRPC itself says this without a reason, in either direction."""
    daemon.script.set("GetMetadata", metadata_pb2.GetMetadataResponse(content=b"x" * 2000))
    small = replace(settings, max_message_bytes=1000)
    with pytest.raises(TooLargeError):
        call("get_metadata", "pypi", "root", settings=small)
    with pytest.raises(TooLargeError):
        call("get_metadata", "pypi", "r" * 2000, settings=small)
    assert [] == fake_time.pauses


def test_an_address_where_nobody_listens_says_what_to_check(
    call: Caller, daemon: FakeDaemon, settings: ClientSettings
) -> None:
    daemon.stop()
    impatient = replace(settings, retry=RetryPolicy(max_attempts=1))
    with pytest.raises(UnavailableError, match=r"No connection to the daemon at 127\.0\.0\.1") as raised:
        call("get_target", "pypi", "a", settings=impatient)
    assert "Check that it runs there" in raised.value.message


def test_errors_survive_pickling_because_task_queues_pickle_them() -> None:
    error = OverloadedError("full", Failure("RESOURCE_EXHAUSTED", "SCAN_QUEUE_FULL", {"a": "b"}, "r", 1.5))
    restored = pickle.loads(pickle.dumps(error))
    assert (OverloadedError, str(error), error.failure) == (type(restored), str(restored), restored.failure)


def test_an_error_of_the_client_alone_reads_without_brackets() -> None:
    assert "The file is not there." == str(WharfingerError("The file is not there."))
