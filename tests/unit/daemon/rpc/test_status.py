"""One table leads from errors to gRPC codes, and every error stands in it."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from wharfinger_daemon import errors
from wharfinger_daemon.errors import Reason, WharfingerError
from wharfinger_daemon.rpc.status import CODES, abridged, code_of, details_of

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, WharfingerError) and kind is not WharfingerError
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_of_its_own_or_of_its_parent(kind: type[WharfingerError]) -> None:
    assert any(parent in CODES for parent in kind.__mro__)


def test_two_kinds_of_error_have_different_codes() -> None:
    assert len(CODES) == len(set(CODES.values()))


def test_an_error_that_nobody_foresaw_is_internal() -> None:
    assert grpc.StatusCode.INTERNAL == code_of(WharfingerError("?", reason=Reason.INTERNAL))


def test_details_carry_reason_metadata_and_request_id() -> None:
    error = errors.RefusedError("No.", reason=Reason.VERSION_JUMP, item="2")
    status = Status.FromString(details_of(error, "r-1"))
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert ("VERSION_JUMP", "wharfinger") == (info.reason, info.domain)
    assert {"item": "2", "request_id": "r-1"} == dict(info.metadata)
    assert (grpc.StatusCode.FAILED_PRECONDITION.value[0], "No.") == (status.code, status.message)
    assert 1 == len(status.details)


@pytest.mark.parametrize("kind", [errors.UnavailableError, errors.OverloadedError])
def test_what_may_pass_says_when_to_come_back(kind: type[WharfingerError]) -> None:
    status = Status.FromString(details_of(kind("Later.", reason=Reason.DRAINING), ""))
    retry = RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.seconds > 0


@pytest.mark.parametrize(("seconds", "told"), [(0.25, (0, 250_000_000)), (7.0001, (7, 1_000_000)), (3600, (3600, 0))])
def test_who_was_too_fast_is_told_when_the_same_request_passes_and_not_sooner(
    seconds: float, told: tuple[int, int]
) -> None:
    error = errors.RateLimitedError("Slowly.", reason=Reason.RATE_LIMITED, retry_after_seconds=seconds, caller="x")
    status = Status.FromString(details_of(abridged(error), ""))
    retry = RetryInfo()
    assert status.details[1].Unpack(retry)
    assert told == (retry.retry_delay.seconds, retry.retry_delay.nanos)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == code_of(error)


@pytest.mark.parametrize("reason", [Reason.MESSAGE_TOO_LARGE, Reason.ARTIFACT_TOO_LARGE])
def test_what_is_too_large_is_not_told_to_come_back(reason: Reason) -> None:
    status = Status.FromString(details_of(errors.OverloadedError("Too large.", reason=reason), ""))
    assert 1 == len(status.details)


def test_reasons_are_their_own_names() -> None:
    assert all(reason.name == reason.value for reason in Reason)


def test_an_error_is_abridged_to_what_fits_into_trailers() -> None:
    short = errors.RefusedError("No.", reason=Reason.VERSION_JUMP, item="2")
    same = abridged(short)
    assert (type(short), "No.", Reason.VERSION_JUMP, {"item": "2"}) == (
        type(same),
        same.message,
        same.reason,
        same.details,
    )
    cut = abridged(errors.RefusedError("é" * 1000, reason=Reason.VERSION_JUMP, item="\ud800" * 1000))
    assert "é" * 510 + " …" == cut.message
    assert "?" * 252 + " …" == cut.details["item"]
