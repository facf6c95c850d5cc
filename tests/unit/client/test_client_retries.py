"""Which calls are made again, when, and for how long."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from tests.unit.client.conftest import Caller, FakeTime
from tests.unit.client.fake_daemon import Abort, FakeDaemon
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger_client import (
    AsyncClient,
    Client,
    ClientSettings,
    DeadlineExceededError,
    Deadlines,
    OverloadedError,
    RetryPolicy,
    Target,
    UnavailableError,
    WharfingerError,
)

PUBLISHED = metadata_pb2.PublishTargetsResponse(timestamp_version=2)
UNAVAILABLE = Abort(grpc.StatusCode.UNAVAILABLE, "draining")
OVERLOADED = Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")


@pytest.mark.parametrize("failure", [UNAVAILABLE, OVERLOADED], ids=["unavailable", "overloaded"])
def test_a_call_is_made_again_under_the_same_request_id(
    failure: Abort, call: Caller, daemon: FakeDaemon, fake_time: FakeTime
) -> None:
    daemon.script.set("PublishTargets", failure, failure, PUBLISHED)

    result = call("publish_targets", "pypi", add=[Target("a", 1, {"sha256": "00"})])

    assert 2 == result.timestamp_version
    assert 3 == len(daemon.received)
    assert 1 == len({received.request_id for received in daemon.received})
    assert 1 == len({received.messages[0].request_id for received in daemon.received})
    assert [0.2, 0.4] == fake_time.pauses


@pytest.mark.parametrize(
    "code",
    [
        code
        for code in grpc.StatusCode
        if code not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
    ],
    ids=lambda code: code.name,
)
def test_no_other_code_is_tried_again(
    code: grpc.StatusCode, call: Caller, daemon: FakeDaemon, fake_time: FakeTime
) -> None:
    daemon.script.set("PublishTargets", Abort(code), PUBLISHED)
    with pytest.raises(WharfingerError):
        call("publish_targets", "pypi")
    assert ([], 1) == (fake_time.pauses, len(daemon.received))


def test_attempts_are_bounded_and_the_last_error_is_raised(
    call: Caller, daemon: FakeDaemon, fake_time: FakeTime
) -> None:
    daemon.script.set("PublishTargets", UNAVAILABLE)
    with pytest.raises(UnavailableError) as raised:
        call("publish_targets", "pypi")
    assert 5 == len(daemon.received)
    assert [0.2, 0.4, 0.8, 1.6] == fake_time.pauses
    assert ["It was tried 5 times."] == raised.value.__notes__


def test_no_pause_is_begun_that_would_outlast_the_deadline(
    call: Caller, daemon: FakeDaemon, fake_time: FakeTime
) -> None:
    daemon.script.set("PublishTargets", UNAVAILABLE)
    with pytest.raises(UnavailableError):
        call("publish_targets", "pypi", timeout=1.0)
    assert [0.2, 0.4] == fake_time.pauses


def test_the_pause_that_the_daemon_asks_for_is_kept(call: Caller, daemon: FakeDaemon, fake_time: FakeTime) -> None:
    info = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=7))
    daemon.script.set("PublishTargets", replace(OVERLOADED, details=(info,)), PUBLISHED)
    call("publish_targets", "pypi")
    assert [7.2] == fake_time.pauses


def test_an_asked_pause_beyond_the_deadline_fails_at_once(
    call: Caller, daemon: FakeDaemon, fake_time: FakeTime
) -> None:
    info = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=61))
    daemon.script.set("PublishTargets", replace(OVERLOADED, details=(info,)), PUBLISHED)
    with pytest.raises(OverloadedError) as raised:
        call("publish_targets", "pypi")
    assert ([], 61.0) == (fake_time.pauses, raised.value.retry_after)
    assert not hasattr(raised.value, "__notes__")


def test_attempts_share_one_deadline(call: Caller, daemon: FakeDaemon) -> None:
    """The second attempt gets what the first and the pause have left."""
    info = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=20))
    daemon.script.set("PublishTargets", replace(OVERLOADED, details=(info,)), PUBLISHED)
    call("publish_targets", "pypi", timeout=50.0)
    first, second = (received.time_remaining for received in daemon.received)
    assert 40 < first <= 51
    assert 20 < second <= 31


def test_every_call_has_a_deadline_from_the_settings(
    call: Caller, daemon: FakeDaemon, settings: ClientSettings
) -> None:
    daemon.script.set("PublishTargets", PUBLISHED)
    call("publish_targets", "pypi", settings=replace(settings, deadlines=Deadlines(publish=30.0)))
    assert 20 < daemon.received[0].time_remaining <= 30.1


def test_a_daemon_that_does_not_answer_in_time_is_left(call: Caller, daemon: FakeDaemon) -> None:
    def wait_until_the_caller_has_gone(request: Any, context: Any) -> Any:
        gone = threading.Event()
        if context.add_callback(gone.set):
            gone.wait(30)
        return PUBLISHED

    daemon.script.set("PublishTargets", wait_until_the_caller_has_gone)
    with pytest.raises(DeadlineExceededError):
        call("publish_targets", "pypi", timeout=0.2)


def test_a_timeout_of_nothing_is_not_the_default(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("PublishTargets", PUBLISHED)
    with pytest.raises(DeadlineExceededError, match="before the request was sent"):
        call("publish_targets", "pypi", timeout=0)
    assert [] == daemon.received


@pytest.mark.parametrize("request_id", ["x" * 65, "two\nlines", "naïve"])
def test_a_request_id_that_the_daemon_would_replace_is_refused(
    request_id: str, call: Caller, daemon: FakeDaemon
) -> None:
    """Otherwise the id in an error would not be the one in the daemon's logs."""
    with pytest.raises(ValueError, match="printable ASCII"):
        call("publish_targets", "pypi", request_id=request_id)
    assert [] == daemon.received


def test_the_blocking_client_really_waits_by_default(daemon: FakeDaemon, settings: ClientSettings) -> None:
    daemon.script.set("PublishTargets", UNAVAILABLE, PUBLISHED)
    quick = replace(settings, retry=RetryPolicy(initial_seconds=0.01))
    with Client(quick) as client:
        assert 2 == client.publish_targets("pypi").timestamp_version


async def test_the_asyncio_client_really_waits_by_default(daemon: FakeDaemon, settings: ClientSettings) -> None:
    daemon.script.set("PublishTargets", UNAVAILABLE, PUBLISHED)
    quick = replace(settings, retry=RetryPolicy(initial_seconds=0.01))
    async with AsyncClient(quick) as client:
        assert 2 == (await client.publish_targets("pypi")).timestamp_version


# ---- the policy ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("attempt", "random", "expected"),
    [(1, 0.0, 0.1), (1, 1.0, 0.2), (2, 1.0, 0.4), (7, 1.0, 5.0), (8, 0.0, 2.5), (99, 1.0, 5.0), (100, 1.0, None)],
)
def test_the_pause_doubles_to_a_limit_and_half_of_it_is_random(
    attempt: int, random: float, expected: float | None
) -> None:
    policy = RetryPolicy(max_attempts=100)
    assert expected == policy.pause_before_next(attempt, retry_after=None, random=random)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 101},
        {"initial_seconds": 0.0},
        {"initial_seconds": 2.0, "max_seconds": 1.0},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="RetryPolicy"):
        RetryPolicy(**wrong)


def test_a_deadline_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Deadlines\.scan must be more than 0"):
        Deadlines(scan=0.0)
