"""What programs rely on when they publish and scan: true of the fake daemon and of the real one alike."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from wharfinger_client import (
    Client,
    InvalidRequestError,
    NotFoundError,
    ScanState,
    ServingStatus,
    Subject,
    Target,
)

REPOSITORY = "development"


def target(path: str, content: bytes = b"content") -> Target:
    return Target(path, len(content), {"sha256": hashlib.sha256(content).hexdigest()})


def subject(project: str) -> Subject:
    return Subject.file(project=project, version="1.0", filename="example-1.0-py3-none-any.whl")


# ---- publishing ------------------------------------------------------------------------------------------------------
def test_what_was_published_is_read_back(client: Client) -> None:
    added = target("simple/read-back/index.html")
    published = client.publish_targets(REPOSITORY, add=[added])
    found = client.get_target(REPOSITORY, added.path)
    assert added == found.target
    assert published.bin_versions == {found.role: found.role_version}


def test_publishing_again_what_is_there_changes_nothing(client: Client) -> None:
    added = target("simple/again/index.html")
    first = client.publish_targets(REPOSITORY, add=[added])
    second = client.publish_targets(REPOSITORY, add=[added])
    assert (first.timestamp_version, {}) == (second.timestamp_version, second.bin_versions)


def test_new_content_takes_the_place_of_old_content(client: Client) -> None:
    path = "simple/replaced/index.html"
    client.publish_targets(REPOSITORY, add=[target(path, b"old")])
    client.publish_targets(REPOSITORY, add=[target(path, b"newer")])
    assert target(path, b"newer") == client.get_target(REPOSITORY, path).target


def test_versions_only_grow(client: Client) -> None:
    first = client.publish_targets(REPOSITORY, add=[target("simple/grow/index.html", b"1")])
    second = client.publish_targets(REPOSITORY, add=[target("simple/grow/index.html", b"2")])
    assert first.timestamp_version < second.timestamp_version
    assert first.snapshot_version < second.snapshot_version


def test_a_removed_target_is_not_found(client: Client) -> None:
    path = "simple/removed/index.html"
    client.publish_targets(REPOSITORY, add=[target(path)])
    client.publish_targets(REPOSITORY, remove=[path])
    with pytest.raises(NotFoundError) as caught:
        client.get_target(REPOSITORY, path)
    assert "TARGET_NOT_FOUND" == caught.value.reason


def test_removing_what_is_not_there_changes_nothing(client: Client) -> None:
    assert {} == client.publish_targets(REPOSITORY, remove=["simple/never-was/index.html"]).bin_versions


def test_an_unknown_repository_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.publish_targets("no-such-repository", add=[target("simple/a/index.html")])
    assert "UNKNOWN_REPOSITORY" == caught.value.reason


@pytest.mark.parametrize("path", ["../up", "/absolute", "a//b", "a/./b", "ünicode", "line\nbreak"], ids=ascii)
def test_paths_that_no_client_would_accept_are_refused(client: Client, path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.publish_targets(REPOSITORY, add=[target(path)])
    assert "TARGET_PATH_INVALID" == caught.value.reason


@pytest.mark.parametrize(
    "hashes",
    [{}, {"sha256": "ab"}, {"blake2b-256": "a" * 64}, {"sha256": "G" * 64}],
    ids=["none", "short", "weak", "hex"],
)
def test_targets_without_a_usable_hash_are_refused(client: Client, hashes: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.publish_targets(REPOSITORY, add=[Target("simple/hashless/index.html", 1, hashes)])
    assert "TARGET_INVALID" == caught.value.reason


def test_a_refused_target_keeps_the_others_of_its_request_out(client: Client) -> None:
    good = target("simple/half/index.html")
    with pytest.raises(InvalidRequestError):
        client.publish_targets(REPOSITORY, add=[good, target("../up")])
    with pytest.raises(NotFoundError):
        client.get_target(REPOSITORY, good.path)


# ---- scanning --------------------------------------------------------------------------------------------------------
def test_a_scan_is_finished_and_read_back(client: Client, artifact: Path) -> None:
    scan = client.scan_file(artifact, subject=subject("scanned")).scan
    assert ScanState.FINISHED == scan.state
    assert scan.classification is not None
    assert hashlib.sha256(artifact.read_bytes()).hexdigest() == scan.sha256
    assert scan == client.get_scan(scan.scan_id)


def test_the_same_subject_and_bytes_are_scanned_once(client: Client, artifact: Path) -> None:
    first = client.scan_file(artifact, subject=subject("scanned-once"))
    second = client.scan_file(artifact.read_bytes(), subject=subject("scanned-once"))
    assert (False, True) == (first.replayed, second.replayed)
    assert first.scan.scan_id == second.scan.scan_id


def test_bytes_that_do_not_have_their_digest_are_refused(client: Client, artifact: Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.scan_file(artifact, subject=subject("mismatch"), sha256="a" * 64)
    assert "DIGEST_MISMATCH" == caught.value.reason


def test_a_subject_without_a_project_is_refused(client: Client, artifact: Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.scan_file(artifact, subject=subject(""))
    assert "SUBJECT_INVALID" == caught.value.reason


def test_scans_are_listed_by_project(client: Client, artifact: Path) -> None:
    scan = client.scan_file(artifact, subject=subject("listed")).scan
    assert [scan.scan_id] == [found.scan_id for found in client.list_scans(project="listed")]


def test_an_unknown_scan_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.get_scan("00000000-0000-0000-0000-000000000000")
    assert "SCAN_NOT_FOUND" == caught.value.reason


def test_the_daemon_says_that_it_serves(client: Client) -> None:
    assert ServingStatus.SERVING == client.check_health()
