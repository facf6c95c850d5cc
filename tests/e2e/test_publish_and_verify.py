"""From nothing to published and verified: python-tuf's own client is the judge."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadHTTPError, LengthOrHashMismatchError, RepositoryError

from tests.support.daemon_process import DaemonProcess
from wharfinger_client import InvalidRequestError, NotFoundError, NotGrantedError, RefusedError, SigningItem, Target

REPOSITORY = "development"


def place_target(daemon: DaemonProcess, path: str, content: bytes) -> Target:
    """Puts a target's content where the development daemon serves it."""
    file = daemon.home / "targets" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return Target(path, len(content), {"sha256": hashlib.sha256(content).hexdigest()})


def publish(daemon: DaemonProcess, path: str, content: bytes) -> None:
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[place_target(daemon, path, content)])


def test_a_published_file_is_downloaded_and_verified(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    publish(shared_daemon, "packages/aa/example-1.0.tar.gz", b"the content")
    updater = shared_daemon.updater(tmp_path)
    updater.refresh()
    info = updater.get_targetinfo("packages/aa/example-1.0.tar.gz")
    assert info is not None
    assert b"the content" == Path(updater.download_target(info)).read_bytes()


def test_a_tampered_file_is_refused(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    publish(shared_daemon, "packages/bb/tampered-1.0.tar.gz", b"what was promised")
    (shared_daemon.home / "targets/packages/bb/tampered-1.0.tar.gz").write_bytes(b"what is there now")
    updater = shared_daemon.updater(tmp_path)
    info = updater.get_targetinfo("packages/bb/tampered-1.0.tar.gz")
    assert info is not None
    with pytest.raises(LengthOrHashMismatchError):
        updater.download_target(info)


def test_a_removed_target_is_gone_for_clients(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    path = "packages/cc/removed-1.0.tar.gz"
    publish(shared_daemon, path, b"soon gone")
    with shared_daemon.client() as client:
        client.publish_targets(REPOSITORY, remove=[path])
        with pytest.raises(NotFoundError) as caught:
            client.get_target(REPOSITORY, path)
    assert "TARGET_NOT_FOUND" == caught.value.reason
    assert shared_daemon.updater(tmp_path).get_targetinfo(path) is None


def test_publishing_what_is_there_changes_nothing(shared_daemon: DaemonProcess) -> None:
    target = place_target(shared_daemon, "packages/dd/same-1.0.tar.gz", b"same")
    with shared_daemon.client() as client:
        first = client.publish_targets(REPOSITORY, add=[target])
        second = client.publish_targets(REPOSITORY, add=[target])
    assert first.timestamp_version == second.timestamp_version
    assert {} == dict(second.bin_versions)


def test_get_target_tells_what_clients_are_told(shared_daemon: DaemonProcess) -> None:
    target = place_target(shared_daemon, "packages/ee/told-1.0.tar.gz", b"told")
    with shared_daemon.client() as client:
        result = client.publish_targets(REPOSITORY, add=[target])
        told = client.get_target(REPOSITORY, target.path)
    assert (target.path, target.length, dict(target.hashes)) == (
        told.target.path,
        told.target.length,
        dict(told.target.hashes),
    )
    assert {told.role: told.role_version} == dict(result.bin_versions)


@pytest.mark.parametrize("path", ["../escape", "/absolute", "a//b", "a/./b", "with\nnewline", "naïve", "", "a" * 1025])
def test_a_path_that_no_client_would_take_is_refused(shared_daemon: DaemonProcess, path: str) -> None:
    with shared_daemon.client() as client, pytest.raises(InvalidRequestError) as caught:
        client.publish_targets(REPOSITORY, add=[Target(path, 1, {"sha256": "0" * 64})])
    assert "TARGET_PATH_INVALID" == caught.value.reason


def test_metadata_is_read_over_grpc_and_http_alike(shared_daemon: DaemonProcess) -> None:
    publish(shared_daemon, "packages/ff/alike-1.0.tar.gz", b"alike")
    with shared_daemon.client("moderator") as client:
        timestamp = client.get_metadata(REPOSITORY, "timestamp")
        snapshot = client.get_metadata(REPOSITORY, "snapshot")
        root = client.get_metadata(REPOSITORY, "root", version=1)
        again = client.get_metadata(REPOSITORY, "timestamp", if_none_match=timestamp.etag)
    assert again.not_modified and b"" == again.content
    names = {
        "timestamp.json": timestamp.content,
        f"{snapshot.version}.snapshot.json": snapshot.content,
        "1.root.json": root.content,
    }
    for name, content in names.items():
        with urllib.request.urlopen(shared_daemon.metadata_url + name) as response:
            assert content == response.read()


def test_a_metadata_role_or_version_that_is_not_there_is_not_found(shared_daemon: DaemonProcess) -> None:
    with shared_daemon.client() as client:
        for role, version in (("snapshot", 10**9), ("bins-zz", 0), ("../../pin", 0), ("root", 99)):
            with pytest.raises((NotFoundError, InvalidRequestError)):
                client.get_metadata(REPOSITORY, role, version=version)
        with pytest.raises(NotFoundError):
            client.get_metadata("elsewhere", "root")


def test_lint_and_sign_of_the_published_timestamp_replay_its_signature(shared_daemon: DaemonProcess) -> None:
    publish(shared_daemon, "packages/gg/replay-1.0.tar.gz", b"replay")
    with shared_daemon.client() as client:
        document = json.loads(client.get_metadata(REPOSITORY, "timestamp").content)
        signed = json.dumps(document["signed"], separators=(",", ":"), sort_keys=True).encode()
        (result,) = client.lint([SigningItem(REPOSITORY, signed)])
        assert result.accepted and result.already_signed
        signature = client.sign_metadata(REPOSITORY, signed)
    assert signature.replayed
    assert document["signatures"][0]["sig"] == signature.sig


def test_another_timestamp_of_a_used_version_is_refused(shared_daemon: DaemonProcess) -> None:
    """Equivocation: two different timestamps of one version must never both be signed."""
    with shared_daemon.client() as client:
        signed = json.loads(client.get_metadata(REPOSITORY, "timestamp").content)["signed"]
        signed["meta"]["snapshot.json"]["version"] += 1
        other = json.dumps(signed, separators=(",", ":"), sort_keys=True).encode()
        with pytest.raises(RefusedError) as caught:
            client.sign_metadata(REPOSITORY, other)
    assert "VERSION_EQUIVOCATION" == caught.value.reason


def test_a_caller_without_the_grant_neither_signs_nor_publishes(shared_daemon: DaemonProcess) -> None:
    with shared_daemon.client("moderator") as client:
        with pytest.raises(NotGrantedError) as caught:
            client.sign_metadata(REPOSITORY, b"{}")
        assert "RPC_NOT_GRANTED" == caught.value.reason
        with pytest.raises(NotGrantedError):
            client.publish_targets(REPOSITORY, remove=["x"])


def test_root_is_not_signed_by_the_online_key(shared_daemon: DaemonProcess) -> None:
    with shared_daemon.client("security") as client:
        document = json.loads(client.get_metadata(REPOSITORY, "root").content)
        from securesystemslib.formats import encode_canonical

        with pytest.raises((RefusedError, NotGrantedError)):
            client.sign_metadata(REPOSITORY, encode_canonical(document["signed"]).encode())


def test_keys_are_listed_with_their_roles(shared_daemon: DaemonProcess) -> None:
    with shared_daemon.client("security") as client:
        keys = list(client.list_signing_keys(REPOSITORY))
    assert 1 == len(keys)
    assert {"bins-*", "snapshot", "timestamp"} == set(keys[0].roles)


def test_a_client_that_saw_a_newer_timestamp_refuses_an_older_one(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Rollback: whoever serves old metadata again is found out by every client that saw newer."""
    old = (daemon.home / "metadata" / "timestamp.json").read_bytes()
    publish(daemon, "packages/hh/newer-1.0.tar.gz", b"newer")
    daemon.updater(tmp_path).refresh()
    (daemon.home / "metadata" / "timestamp.json").write_bytes(old)
    with pytest.raises(RepositoryError):
        daemon.updater(tmp_path).refresh()


def test_http_tells_caches_what_they_may_keep(shared_daemon: DaemonProcess) -> None:
    def head(name: str, method: str = "HEAD") -> dict[str, str]:
        request = urllib.request.Request(shared_daemon.metadata_url + name, method=method)
        with urllib.request.urlopen(request) as response:
            return {key.lower(): value for key, value in response.headers.items()}

    assert "immutable" in head("1.root.json")["cache-control"]
    assert "public, max-age=10" == head("timestamp.json")["cache-control"]
    assert head("timestamp.json")["etag"].startswith('"')
    for name, status in (("999.root.json", 404), ("root.json", 404), ("1.timestamp.json", 404), ("..%2fpin", 404)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            head(name)
        caught.value.close()
        assert status == caught.value.code
    with pytest.raises(urllib.error.HTTPError) as caught:
        head("timestamp.json", "POST")
    caught.value.close()
    assert 405 == caught.value.code


def test_a_missing_file_is_a_404_for_the_updater(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    target = Target("packages/ii/absent-1.0.tar.gz", 6, {"sha256": hashlib.sha256(b"absent").hexdigest()})
    with shared_daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[target])
    updater = shared_daemon.updater(tmp_path)
    info = updater.get_targetinfo(target.path)
    assert info is not None
    with pytest.raises(DownloadHTTPError):
        updater.download_target(info)
