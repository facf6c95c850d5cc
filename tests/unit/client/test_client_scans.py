"""Every method that speaks of scans, through both clients: what is sent, and what comes back as values."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.unit.client.conftest import Caller, FakeTime
from tests.unit.client.fake_daemon import FakeDaemon, scan_message
from wharfinger.scan.v1 import scan_pb2
from wharfinger_client import (
    ArtifactPath,
    ArtifactUrl,
    Classification,
    Confidence,
    DeadlineExceededError,
    Finding,
    ScanState,
    ServerError,
    Subject,
    SubjectKind,
)

INSTANT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
SUBJECT = Subject.file(project="example", version="1.0", filename="example-1.0.tar.gz")
SHA256 = hashlib.sha256(b"artifact").hexdigest()


def _timestamp() -> Timestamp:
    message = Timestamp()
    message.FromDatetime(INSTANT)
    return message


def test_get_scan_returns_the_scan_with_its_findings(call: Caller, daemon: FakeDaemon) -> None:
    finding = scan_pb2.Finding(
        check="c", check_version="1", rule="r", member="a!/b", line=3, excerpt="x", message="m", weight=2.5
    )
    message = scan_message(
        sha256=SHA256,
        rule_set="rules",
        classification=scan_pb2.CLASSIFICATION_THREAT,
        score=2.5,
        findings=[finding],
        seconds=0.5,
        submitted_at=_timestamp(),
        finished_at=_timestamp(),
    )
    daemon.script.set("GetScan", scan_pb2.GetScanResponse(scan=message))

    scan = call("get_scan", "scan-1")

    assert (SUBJECT, SHA256, "rules") == (scan.subject, scan.sha256, scan.rule_set)
    assert (Finding("c", "1", "r", "a!/b", 3, "x", "m", 2.5),) == scan.findings
    assert (Classification.THREAT, Confidence.HIGH, 2.5) == (scan.classification, scan.confidence, scan.score)
    assert (ScanState.FINISHED, True) == (scan.state, scan.done)
    assert (INSTANT, INSTANT, 0.5, "") == (scan.submitted_at, scan.finished_at, scan.seconds, scan.error)


def test_a_failed_scan_has_no_classification(call: Caller, daemon: FakeDaemon) -> None:
    """It is returned and not raised, and cannot be mistaken for benign."""
    message = scan_pb2.Scan(scan_id="scan-1", state=scan_pb2.SCAN_STATE_ERROR, error="The worker died.")
    daemon.script.set("GetScan", scan_pb2.GetScanResponse(scan=message))
    scan = call("get_scan", "scan-1")
    assert (None, None, "The worker died.") == (scan.classification, scan.confidence, scan.error)
    assert (True, None, None) == (scan.done, scan.submitted_at, scan.finished_at)


def test_words_of_a_newer_daemon_become_unknown_and_never_benign(call: Caller, daemon: FakeDaemon) -> None:
    new: Any = 99
    message = scan_message(state=new, classification=new, confidence=new, subject=scan_pb2.Subject(kind=new))
    daemon.script.set("GetScan", scan_pb2.GetScanResponse(scan=message))
    scan = call("get_scan", "scan-1")
    assert (ScanState.UNKNOWN, None, None) == (scan.state, scan.classification, scan.confidence)
    assert (SubjectKind.UNKNOWN, False) == (scan.subject.kind, scan.done)


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [(ArtifactPath("a/b.whl"), ("a/b.whl", "")), (ArtifactUrl("https://example.com/b"), ("", "https://example.com/b"))],
)
def test_create_scan_refers_to_an_artifact(
    artifact: ArtifactPath | ArtifactUrl, expected: tuple[str, str], call: Caller, daemon: FakeDaemon
) -> None:
    message = scan_message(sha256=SHA256, state=scan_pb2.SCAN_STATE_SUBMITTED, classification=0, confidence=0)
    daemon.script.set("CreateScan", scan_pb2.CreateScanResponse(scan=message, replayed=True))

    reply = call("create_scan", SUBJECT, SHA256.upper(), artifact, request_id="r")

    assert (ScanState.SUBMITTED, True) == (reply.scan.state, reply.replayed)
    sent = daemon.received[0].messages[0]
    assert expected == (sent.artifact.path, sent.artifact.url)
    assert (SHA256, scan_pb2.SUBJECT_KIND_FILE, "r") == (sent.sha256, sent.subject.kind, sent.request_id)


def test_a_scan_of_another_artifact_than_asked_for_is_an_error(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("CreateScan", scan_pb2.CreateScanResponse(scan=scan_message(sha256="ff")))
    with pytest.raises(ServerError, match="a scan of sha256 ff"):
        call("create_scan", SUBJECT, SHA256, ArtifactPath("a"))


def test_list_scans_filters_and_reads_every_page(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set(
        "ListScans",
        scan_pb2.ListScansResponse(scans=[scan_message(scan_id="b")], next_page_token="two"),
        scan_pb2.ListScansResponse(scans=[scan_message(scan_id="a")]),
    )

    scans = call(
        "list_scans",
        project="example",
        sha256=SHA256,
        classification=Classification.THREAT,
        state=ScanState.FINISHED,
        page_size=1,
    )

    assert ["b", "a"] == [scan.scan_id for scan in scans]
    sent = daemon.received[1].messages[0]
    assert ("example", SHA256, "two", 1) == (sent.project, sent.sha256, sent.page_token, sent.page_size)
    assert (scan_pb2.CLASSIFICATION_THREAT, scan_pb2.SCAN_STATE_FINISHED) == (sent.classification, sent.state)


def test_list_scans_without_filters_lists_all(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("ListScans", scan_pb2.ListScansResponse())
    assert [] == call("list_scans")
    assert scan_pb2.ListScansRequest() == daemon.received[0].messages[0]


def test_wait_for_scan_asks_until_the_scan_is_done(call: Caller, daemon: FakeDaemon, fake_time: FakeTime) -> None:
    waiting = scan_pb2.GetScanResponse(scan=scan_message(state=scan_pb2.SCAN_STATE_CLAIMED, classification=0))
    daemon.script.set("GetScan", waiting, waiting, scan_pb2.GetScanResponse(scan=scan_message()))
    fake_time.luck = 0.5

    assert Classification.BENIGN == call("wait_for_scan", "scan-1", timeout=10).classification
    assert [0.1, 0.15] == pytest.approx(fake_time.pauses)


def test_wait_for_scan_gives_up_in_time_and_says_how_far_it_was(
    call: Caller, daemon: FakeDaemon, fake_time: FakeTime
) -> None:
    waiting = scan_message(state=scan_pb2.SCAN_STATE_SUBMITTED, classification=0)
    daemon.script.set("GetScan", scan_pb2.GetScanResponse(scan=waiting))
    with pytest.raises(DeadlineExceededError, match="still submitted after 30 seconds"):
        call("wait_for_scan", "scan-1", timeout=30)
    assert fake_time.now < 30
    assert max(fake_time.pauses) <= 2.5


def test_a_list_that_names_the_same_page_again_ends_in_an_error(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("ListScans", scan_pb2.ListScansResponse(next_page_token="again"))
    with pytest.raises(ServerError, match="the list has no end"):
        call("list_scans")
