"""The fake daemon: what a test can make it do."""

from __future__ import annotations

import pytest

from wharfinger_client import Classification, ScanState, ServerError, Subject, Target, UnavailableError
from wharfinger_client.testing import BENIGN, FakeDaemon, Judgement

FILE = Subject.file(project="example", version="1.0", filename="example-1.0.tar.gz")
PAGE = Target("simple/example/index.html", 1, {"sha256": "0" * 64})


def test_a_stopped_daemon_is_unavailable_and_forgets_nothing() -> None:
    daemon = FakeDaemon()
    with daemon.client() as client:
        client.publish_targets("pypi", add=[PAGE])
        daemon.stop()
        with pytest.raises(UnavailableError):
            client.get_target("pypi", PAGE.path)
        daemon.start()
        assert PAGE == client.get_target("pypi", PAGE.path).target
    assert {"pypi": {PAGE.path: PAGE}} == daemon.targets


def test_the_test_chooses_the_verdict() -> None:
    daemon = FakeDaemon(judge=lambda content: Judgement(Classification.THREAT) if b"evil" in content else BENIGN)
    with daemon.client() as client:
        scans = [client.scan_file(content, subject=FILE).scan for content in (b"evil", b"good")]
    assert [Classification.THREAT, Classification.BENIGN] == [scan.classification for scan in scans]


def test_a_scan_that_could_not_be_done_is_done_again() -> None:
    judgements = [Judgement(Classification.BENIGN, error="The worker ended."), BENIGN]
    daemon = FakeDaemon(judge=lambda content: judgements.pop(0))
    with daemon.client() as client:
        failed, done = (client.scan_file(b"x", subject=FILE) for _ in range(2))
    assert (ScanState.ERROR, None) == (failed.scan.state, failed.scan.classification)
    assert (ScanState.FINISHED, False) == (done.scan.state, done.replayed)


def test_what_needs_keys_is_refused_and_not_pretended() -> None:
    with FakeDaemon().client() as client:
        with pytest.raises(ServerError):
            client.sign_metadata("pypi", b"{}")
        with pytest.raises(ServerError):
            next(client.watch_publications("pypi"))


def test_calls_are_recorded_with_their_request_id() -> None:
    daemon = FakeDaemon()
    with daemon.client() as client:
        client.publish_targets("pypi", add=[PAGE], request_id="page-1")
    assert [("PublishTargets", "page-1")] == [(call.rpc, call.request_id) for call in daemon.calls]


def test_a_closed_client_raises() -> None:
    client = FakeDaemon().client()
    client.close()
    with pytest.raises(RuntimeError):
        client.check_health()
