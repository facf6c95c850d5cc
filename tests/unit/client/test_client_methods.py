"""Every method of signing, metadata and health, through both clients: what is sent, and what comes back as values."""

from __future__ import annotations

import hashlib
import io
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2

from tests.unit.client.conftest import Caller
from tests.unit.client.fake_daemon import Abort, FakeDaemon
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.signing.v1 import signing_pb2
from wharfinger_client import (
    LintResult,
    MetadataFile,
    NotFoundError,
    PublicationResult,
    PublishedTarget,
    ServerError,
    ServingStatus,
    Signature,
    SigningItem,
    SigningKey,
    Target,
)

INSTANT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def _timestamp() -> Timestamp:
    message = Timestamp()
    message.FromDatetime(INSTANT)
    return message


# ---- signing ---------------------------------------------------------------------------------------------------------
def _signature(version: int) -> signing_pb2.Signature:
    return signing_pb2.Signature(keyid="k", signature=b"\x01\xab", role="timestamp", version=version, replayed=True)


def test_sign_sends_items_and_returns_signatures_in_their_order(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("Sign", signing_pb2.SignResponse(signatures=[_signature(1), _signature(2)]))
    items = [SigningItem("pypi", b"{}"), SigningItem("pypi", b"[]", role="bins-0a", keyid="k")]

    signatures = call("sign", items, request_id="upload-7")

    expected = tuple(Signature("k", b"\x01\xab", "timestamp", version, replayed=True) for version in (1, 2))
    assert expected == signatures
    assert "01ab" == signatures[0].sig
    sent = daemon.received[0].messages[0]
    assert "upload-7" == sent.request_id == daemon.received[0].request_id
    assert [("pypi", "", b"{}", ""), ("pypi", "bins-0a", b"[]", "k")] == [
        (item.tuf_metadata.repository, item.tuf_metadata.role, item.tuf_metadata.signed, item.keyid)
        for item in sent.items
    ]


def test_sign_metadata_signs_one_item(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("Sign", signing_pb2.SignResponse(signatures=[_signature(3)]))

    signature = call("sign_metadata", "pypi", b"{}", role="timestamp", keyid="k")

    assert 3 == signature.version
    sent = daemon.received[0].messages[0]
    assert 1 == len(sent.items)
    assert ("timestamp", "k") == (sent.items[0].tuf_metadata.role, sent.items[0].keyid)
    assert daemon.received[0].request_id == sent.request_id == str(uuid.UUID(sent.request_id))


def test_fewer_signatures_than_items_are_an_error_and_not_a_shorter_list(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("Sign", signing_pb2.SignResponse(signatures=[_signature(1)]))
    with pytest.raises(ServerError, match="1 results for 2 items"):
        call("sign", [SigningItem("pypi", b"{}")] * 2)


def test_lint_returns_what_sign_would_say(call: Caller, daemon: FakeDaemon) -> None:
    accepted = signing_pb2.LintResult(keyid="k", role="timestamp", version=4, already_signed=True)
    refused = signing_pb2.LintResult(reason="NOT_JSON", message="The bytes are not JSON.")
    daemon.script.set("Lint", signing_pb2.LintResponse(results=[accepted, refused]))

    results = call("lint", [SigningItem("pypi", b"{}"), SigningItem("pypi", b"x")])

    assert (
        LintResult("", "", "k", "timestamp", 4, already_signed=True),
        LintResult("NOT_JSON", "The bytes are not JSON.", "", "", 0, already_signed=False),
    ) == results
    assert [True, False] == [result.accepted for result in results]


def test_list_signing_keys_reads_every_page(call: Caller, daemon: FakeDaemon) -> None:
    first = signing_pb2.SigningKey(
        keyid="k1", keytype="ecdsa", scheme="s", public_key_pem="p", roles=["bins-*"], verified_at=_timestamp()
    )
    second = signing_pb2.SigningKey(keyid="k2")
    daemon.script.set(
        "ListSigningKeys",
        signing_pb2.ListSigningKeysResponse(keys=[first], next_page_token="two"),
        signing_pb2.ListSigningKeysResponse(keys=[second]),
    )

    keys = call("list_signing_keys", "pypi")

    assert [
        SigningKey("k1", "ecdsa", "s", "p", ("bins-*",), INSTANT),
        SigningKey("k2", "", "", "", (), None),
    ] == keys
    assert ["", "two"] == [received.messages[0].page_token for received in daemon.received]


# ---- metadata --------------------------------------------------------------------------------------------------------
def test_get_metadata_asks_for_role_version_and_etag(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("GetMetadata", metadata_pb2.GetMetadataResponse(version=7, etag="e", not_modified=True))

    file = call("get_metadata", "pypi", "bins-0a", version=7, if_none_match="e")

    assert MetadataFile(content=b"", version=7, etag="e", not_modified=True) == file
    sent = daemon.received[0].messages[0]
    assert ("pypi", "bins-0a", 7, "e") == (sent.repository, sent.role, sent.version, sent.if_none_match)


def test_publish_targets_sends_what_to_add_and_to_remove(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set(
        "PublishTargets",
        metadata_pb2.PublishTargetsResponse(
            timestamp_version=9, snapshot_version=8, bin_versions={"bins-0a": 3}, request_id="r"
        ),
    )

    result = call("publish_targets", "pypi", add=[Target("a", 1, {"sha256": "00"})], remove=["b"], request_id="r")

    assert PublicationResult(9, 8, {"bins-0a": 3}, "r") == result
    sent = daemon.received[0].messages[0]
    assert [("a", 1, {"sha256": "00"})] == [(each.path, each.length, dict(each.hashes)) for each in sent.add]
    assert (["b"], "r", "r") == (list(sent.remove), sent.request_id, daemon.received[0].request_id)


def test_get_target_returns_what_the_metadata_says(call: Caller, daemon: FakeDaemon) -> None:
    target = metadata_pb2.Target(path="a", length=1, hashes={"sha256": "00"})
    daemon.script.set(
        "GetTarget",
        metadata_pb2.GetTargetResponse(target=target, role="bins-0a", role_version=3, expires=_timestamp()),
    )
    published = call("get_target", "pypi", "a")
    assert PublishedTarget(Target("a", 1, {"sha256": "00"}), "bins-0a", 3, INSTANT) == published


@pytest.mark.parametrize("source", ["path", "text path", "file object"])
def test_a_target_is_measured_from_a_file_with_tuf_names_of_hashes(source: str, tmp_path: Path) -> None:
    content = b"content" * 300_000
    file = tmp_path / "example.whl"
    file.write_bytes(content)
    sources: dict[str, Any] = {"path": file, "text path": str(file), "file object": io.BytesIO(content)}

    target = Target.from_file("packages/example.whl", sources[source], algorithms=["sha512", "blake2b-256"])

    hashes = {
        "sha512": hashlib.sha512(content).hexdigest(),
        "blake2b-256": hashlib.blake2b(content, digest_size=32).hexdigest(),
    }
    assert Target("packages/example.whl", len(content), hashes) == target


# ---- health ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (health_pb2.HealthCheckResponse.SERVING, ServingStatus.SERVING),
        (health_pb2.HealthCheckResponse.NOT_SERVING, ServingStatus.NOT_SERVING),
        (health_pb2.HealthCheckResponse.UNKNOWN, ServingStatus.UNKNOWN),
        (health_pb2.HealthCheckResponse.SERVICE_UNKNOWN, ServingStatus.UNKNOWN),
    ],
)
def test_health_speaks_the_real_health_protocol(
    status: Any, expected: ServingStatus, call: Caller, daemon: FakeDaemon
) -> None:
    daemon.script.set("Check", health_pb2.HealthCheckResponse(status=status))
    assert expected == call("check_health", "wharfinger.scan.v1.ScanService")
    assert "wharfinger.scan.v1.ScanService" == daemon.received[0].messages[0].service


def test_health_of_an_unknown_service_is_not_found(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("Check", Abort(grpc.StatusCode.NOT_FOUND, "unknown service"))
    with pytest.raises(NotFoundError):
        call("check_health", "nothing")
