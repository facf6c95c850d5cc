"""The example runs as its own text says, against a daemon that answers like the real one."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.unit.client.fake_daemon import Abort, Authority, FakeDaemon, scan_message, scan_reply
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "sign_publish_scan.py"
TIMESTAMP = {"signatures": [{"keyid": "ab" * 32, "sig": "beef"}], "signed": {"_type": "timestamp", "version": 4}}


@pytest.fixture
def example() -> Any:
    spec = importlib.util.spec_from_file_location("sign_publish_scan", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def home(authority: Authority, tmp_path: Path) -> Path:
    certificate, key = authority.identity()
    tls = tmp_path / "home" / "tls"
    tls.mkdir(parents=True)
    for name, content in (("ca.crt", authority.ca), ("warehouse.crt", certificate), ("warehouse.key", key)):
        (tls / name).write_bytes(content)
    return tls.parent


@pytest.fixture
def serving(daemon: FakeDaemon) -> Iterator[FakeDaemon]:
    """A daemon with a repository in memory."""
    published: list[metadata_pb2.Target] = []

    def scan(requests: Any, context: grpc.ServicerContext) -> scan_pb2.ScanResponse:
        return scan_reply(requests)[1]

    def publish(request: Any, context: grpc.ServicerContext) -> metadata_pb2.PublishTargetsResponse:
        published.extend(request.add)
        return metadata_pb2.PublishTargetsResponse(timestamp_version=4, bin_versions={"bins-0": 2})

    def target(request: Any, context: grpc.ServicerContext) -> metadata_pb2.GetTargetResponse:
        found = next(each for each in published if each.path == request.path)
        return metadata_pb2.GetTargetResponse(target=found, role="bins-0", role_version=2)

    def sign(request: Any, context: grpc.ServicerContext) -> signing_pb2.SignResponse:
        assert b'{"_type":"timestamp","version":4}' == request.items[0].tuf_metadata.signed
        signature = signing_pb2.Signature(
            keyid="ab" * 32, signature=b"\xbe\xef", role="timestamp", version=4, replayed=True
        )
        return signing_pb2.SignResponse(signatures=[signature])

    lint = signing_pb2.LintResult(keyid="ab" * 32, role="timestamp", version=4, already_signed=True)
    key = signing_pb2.SigningKey(keyid="ab" * 32, scheme="ecdsa-sha2-nistp256", roles=["timestamp"])
    content = json.dumps(TIMESTAMP).encode()
    script = daemon.script
    script.set("Check", health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING))
    script.set("ListSigningKeys", signing_pb2.ListSigningKeysResponse(keys=[key]))
    script.set("Scan", scan)
    script.set("PublishTargets", publish)
    script.set("GetTarget", target)
    script.set("GetMetadata", metadata_pb2.GetMetadataResponse(content=content, version=4))
    script.set("Lint", signing_pb2.LintResponse(results=[lint]))
    script.set("Sign", sign)
    yield daemon


def test_it_scans_publishes_reads_back_and_signs(
    example: Any, home: Path, serving: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == example.main(["--home", str(home), "--address", serving.address])
    printed = capsys.readouterr().out
    assert ["health", "key", "scan", "publish", "target", "lint", "sign", "done"] == [
        line.split()[0] for line in printed.splitlines() if not line.startswith(" ")
    ]
    (wheel,) = (home / "targets" / "packages").rglob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        assert opened.testzip() is None


def test_a_file_of_ones_own_can_be_given(example: Any, home: Path, serving: FakeDaemon, tmp_path: Path) -> None:
    file = tmp_path / "noversion.whl"
    file.write_bytes(b"a file")
    assert 0 == example.main(["--home", str(home), "--address", serving.address, str(file)])
    assert [b"a file"] == [found.read_bytes() for found in (home / "targets").rglob("noversion.whl")]


@pytest.mark.parametrize(
    "unsafe",
    [
        {"classification": scan_pb2.CLASSIFICATION_THREAT, "findings": [scan_pb2.Finding(check="c", rule="r")]},
        {"classification": scan_pb2.CLASSIFICATION_UNSPECIFIED, "state": scan_pb2.SCAN_STATE_ERROR},
    ],
    ids=["threat", "failed scan"],
)
def test_what_was_not_scanned_well_is_not_published(
    unsafe: dict[str, Any], example: Any, home: Path, serving: FakeDaemon
) -> None:
    def scan(requests: Any, context: grpc.ServicerContext) -> scan_pb2.ScanResponse:
        messages, _ = scan_reply(requests)
        return scan_pb2.ScanResponse(scan=scan_message(sha256=messages[0].header.sha256, **unsafe))

    serving.script.set("Scan", scan)
    assert 1 == example.main(["--home", str(home), "--address", serving.address])
    assert not (home / "targets").exists()


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GetTarget", metadata_pb2.GetTargetResponse(target=metadata_pb2.Target(path="other"))),
        ("Lint", signing_pb2.LintResponse(results=[signing_pb2.LintResult(reason="VERSION_ROLLBACK")])),
        ("Sign", signing_pb2.SignResponse(signatures=[signing_pb2.Signature(keyid="ab" * 32, signature=b"x")])),
    ],
    ids=["target", "lint", "signature"],
)
def test_an_answer_that_is_not_as_it_must_be_is_noticed(
    method: str, answer: Any, example: Any, home: Path, serving: FakeDaemon
) -> None:
    serving.script.set(method, answer)
    assert 1 == example.main(["--home", str(home), "--address", serving.address])


def test_an_error_of_the_daemon_is_printed(
    example: Any, home: Path, serving: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    serving.script.set("PublishTargets", Abort(grpc.StatusCode.NOT_FOUND, "no such repository"))
    assert 2 == example.main(["--home", str(home), "--address", serving.address])
    assert "no such repository (NOT_FOUND" in capsys.readouterr().err


def test_a_home_without_certificates_is_named(example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == example.main(["--home", str(tmp_path)])
    assert "ca.crt" in capsys.readouterr().err
