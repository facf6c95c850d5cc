"""Watching publications with both clients: nothing is missed and nothing comes twice, whatever ends the stream."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.unit.client.conftest import Caller, FakeTime
from tests.unit.client.fake_daemon import Abort, Attempt, FakeDaemon
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger_client import InvalidRequestError, Publication, UnavailableError, WharfingerError

INSTANT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
AWAY = Abort(grpc.StatusCode.UNAVAILABLE)
STOP = Abort(grpc.StatusCode.INVALID_ARGUMENT)


def message(version: int, **bins: int) -> metadata_pb2.WatchPublicationsResponse:
    published_at = Timestamp()
    published_at.FromDatetime(INSTANT)
    return metadata_pb2.WatchPublicationsResponse(
        publication=metadata_pb2.Publication(
            timestamp_version=version, snapshot_version=version - 1, bin_versions=bins, published_at=published_at
        )
    )


def watched(
    call: Caller, daemon: FakeDaemon, *attempts: Attempt, **arguments: Any
) -> tuple[list[Any], WharfingerError]:
    """What was seen until an error that is not passed over, and that error."""
    daemon.script.attempts = list(attempts)
    seen: list[Publication] = []
    with pytest.raises(WharfingerError) as ended:
        call.each("watch_publications", seen.append, "pypi", **arguments)
    return seen, ended.value


def asked(daemon: FakeDaemon) -> list[int | None]:
    requests = [received.messages[0] for received in daemon.received]
    return [request.after if request.HasField("after") else None for request in requests]


def test_publications_come_as_values_in_order(call: Caller, daemon: FakeDaemon) -> None:
    seen, error = watched(call, daemon, Attempt((message(7, a=3), message(9)), STOP))
    assert [Publication(7, 6, {"a": 3}, INSTANT), Publication(9, 8, {}, INSTANT)] == seen
    assert isinstance(error, InvalidRequestError)
    assert (["pypi"], [None]) == ([it.messages[0].repository for it in daemon.received], asked(daemon))
    assert daemon.received[0].time_remaining > 10**9  # There is no deadline.


@pytest.mark.parametrize("end", [AWAY, None], ids=["unavailable", "just-ended"])
def test_a_watcher_resumes_after_what_it_has_seen(
    call: Caller, daemon: FakeDaemon, fake_time: FakeTime, end: Abort | None
) -> None:
    attempts = (Attempt((message(7), message(8)), end), Attempt((), end), Attempt((message(9),), STOP))
    seen, _ = watched(call, daemon, *attempts, after=6)
    assert [7, 8, 9] == [publication.timestamp_version for publication in seen]
    assert [6, 8, 8] == asked(daemon)
    assert 2 == len(fake_time.pauses)
    assert 1 == len({received.request_id for received in daemon.received})


def test_the_beginning_is_not_the_same_as_nothing(call: Caller, daemon: FakeDaemon) -> None:
    watched(call, daemon, Attempt((), STOP), after=0)
    assert [0] == asked(daemon)


def test_a_daemon_that_stays_away_is_said_after_as_many_attempts_as_are_allowed(
    call: Caller, daemon: FakeDaemon
) -> None:
    most = call.settings.retry.max_attempts
    attempts = (Attempt((message(7),), AWAY), *[Attempt((), AWAY)] * (2 * most))
    seen, error = watched(call, daemon, *attempts)
    assert (1, UnavailableError) == (len(seen), type(error))
    assert most + 1 == len(daemon.received)
