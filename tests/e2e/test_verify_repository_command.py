"""``wharfinger verify-repository`` on what a daemon publishes, in its directory and over HTTP."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from tests.support.daemon_process import DaemonProcess, run_cli
from wharfinger_client import Target

REPOSITORY = "development"


def verify(location: object, *more: str) -> tuple[int, Any]:
    done = run_cli("verify-repository", str(location), "--json", *more)
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def publish(daemon: DaemonProcess, *paths: str) -> None:
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[Target(path, 1, {"sha256": "0" * 64}) for path in paths])


def test_published_repository_has_no_errors_in_directory_and_over_http(shared_daemon: DaemonProcess) -> None:
    publish(shared_daemon, *(f"packages/{number}/file.whl" for number in range(20)))
    directory = shared_daemon.home / "metadata"
    root = hashlib.sha256((directory / "1.root.json").read_bytes()).hexdigest()
    code, local = verify(directory, "--root-sha256", root)
    assert (0, 0, 0, 20, []) == (code, local["errors"], local["warnings"], local["targets"], local["findings"])
    code, remote = verify(shared_daemon.metadata_url, "--root", str(directory / "1.root.json"))
    assert (0, 0) == (code, remote["errors"])
    assert local["versions"] == remote["versions"]
    assert {"root", "timestamp", "snapshot"} == set(local["versions"])


def test_damage_and_rollback_are_told_like_a_compiler_does(daemon: DaemonProcess, tmp_path: Path) -> None:
    publish(daemon, "packages/1/file.whl")
    before = shutil.copytree(daemon.home / "metadata", tmp_path / "before")
    publish(daemon, "packages/2/file.whl")
    code, told = verify(daemon.home / "metadata", "--previous", str(before))
    assert (0, 0) == (code, told["errors"])
    done = run_cli("verify-repository", str(before), "--previous", str(daemon.home / "metadata"))
    assert 1 == done.returncode
    assert "timestamp.json: error: rollback: it is version" in done.stdout
    bin_file = max(before.glob("1.bins-*.json"))
    bin_file.write_bytes(bin_file.read_bytes().replace(b'"targets":{', b'"targets":{"x":1,'))
    done = run_cli("verify-repository", str(before))
    if bin_file.name in done.stdout:  # Else a newer version of the bin is the one that counts.
        assert 1 == done.returncode
    newest = max(before.glob("*.snapshot.json"), key=lambda file: int(file.name.partition(".")[0]))
    newest.unlink()
    done = run_cli("verify-repository", str(before))
    assert (1, f"{newest.name}: error: file-missing" in done.stdout) == (done.returncode, True)


def test_place_without_a_repository_is_told(tmp_path: Path) -> None:
    code, told = verify(tmp_path)
    assert (1, ["file-missing"]) == (code, [one["rule"] for one in told["findings"]])
    done = run_cli("verify-repository", str(tmp_path / "nowhere"))
    assert (2, "") == (done.returncode, done.stdout)
    assert "Name the directory" in done.stderr


def test_many_bins_are_verified_in_several_processes(tmp_path: Path) -> None:
    made = run_cli("init", "--development", "--home", str(tmp_path / "home"), "--bins", "256")
    assert 0 == made.returncode, made.stderr
    damaged = tmp_path / "home" / "metadata" / "1.bins-c8.json"
    damaged.write_bytes(damaged.read_bytes().replace(b"T", b"U", 1))
    code, told = verify(tmp_path / "home" / "metadata", "--processes", "2")
    assert (1, 1, 261) == (code, told["errors"], told["files"] + 1)
    assert ["1.bins-c8.json"] == [one["file"] for one in told["findings"] if one["severity"] == "error"]


# ---- Snapshots for auditors ------------------------------------------------------------------------------------------
def test_digest_of_a_snapshot_is_that_of_what_sha256sum_prints(shared_daemon: DaemonProcess) -> None:
    directory = shared_daemon.home / "metadata"
    *lines, last = run_cli("metadata", "digest", str(directory)).stdout.splitlines()
    names = [line.partition("  ")[2] for line in lines]
    assert [f"{hashlib.sha256((directory / name).read_bytes()).hexdigest()}  {name}" for name in names] == lines
    assert {"targets", "bins", "snapshot", *(f"bins-{index}" for index in range(4))} == {
        name.split(".")[1] for name in names
    }
    expected = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    assert last.startswith(f"{expected}  snapshot ")
    told = json.loads(run_cli("metadata", "digest", "--json", shared_daemon.metadata_url).stdout)
    assert (expected, names) == (told["sha256"], list(told["files"]))


def diff(*arguments: str) -> tuple[int, Any]:
    done = run_cli("metadata", "audit-diff", "--json", *arguments)
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def test_roles_and_targets_that_differ_between_two_snapshots_are_told(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    place = shared_daemon.home / "metadata"
    publish(shared_daemon, "audit/stays", "audit/goes", "audit/changes")
    before = shutil.copytree(place, tmp_path / "before")
    assert (0, []) == (diff(str(before), str(place))[0], diff(str(before), str(place))[1]["targets"])
    other = {"length": 2, "hashes": {"sha256": "1" * 64}}
    with shared_daemon.client() as client:
        client.publish_targets(
            REPOSITORY, add=[Target("audit/changes", 2, {"sha256": "1" * 64})], remove=["audit/goes"]
        )
    publish(shared_daemon, "audit/comes")
    code, told = diff(str(before), shared_daemon.metadata_url)
    one = {"length": 1, "hashes": {"sha256": "0" * 64}}
    assert 1 == code
    assert [
        {"path": "audit/changes", "old": one, "new": other},
        {"path": "audit/comes", "old": None, "new": one},
        {"path": "audit/goes", "old": one, "new": None},
    ] == told["targets"]
    assert all(role.startswith("bins-") for role in told["roles"])
    lines = run_cli("metadata", "audit-diff", str(before), str(place)).stdout.splitlines()
    assert lines[-1].endswith("3 targets differ.")
    assert f"- audit/goes 1 sha256:{'0' * 64}" in lines
    # Also between versions that one place still has.
    again = diff(str(place), str(place), "--old-version", str(told["old"]))
    assert told["targets"] == again[1]["targets"]


def test_snapshot_that_cannot_be_read_ends_with_status_2(tmp_path: Path) -> None:
    (tmp_path / "timestamp.json").write_bytes(b"[" * 9_000)
    for arguments in (("digest", str(tmp_path)), ("audit-diff", str(tmp_path), str(tmp_path)), ("digest", "nowhere")):
        done = run_cli("metadata", *arguments)
        assert (2, "") == (done.returncode, done.stdout)
        assert "Traceback" not in done.stderr
