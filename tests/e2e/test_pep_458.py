"""What PEP 458 asks of a repository, with python-tuf's own client as the judge. ``docs/explanation/pep-458.md`` names
these tests."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess
from wharfinger_client import InvalidRequestError, Target

REPOSITORY = "development"


def place(daemon: DaemonProcess, path: str, content: bytes, *algorithms: str) -> Target:
    """Puts content where the daemon serves it, and describes it with these hashes."""
    file = daemon.home / "targets" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    hashes = {name: hashlib.new(name, content).hexdigest() for name in algorithms or ("sha256",)}
    return Target(path, len(content), hashes)


def signed_of(daemon: DaemonProcess, role: str) -> dict[str, object]:
    with daemon.client() as client:
        signed: dict[str, object] = json.loads(client.get_metadata(REPOSITORY, role).content)["signed"]
    return signed


def test_distribution_and_simple_pages_become_visible_in_one_snapshot(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    contents = {
        "packages/aa/bb/together-1.0-py3-none-any.whl": b"the wheel",
        "simple/together/index.html": b"<!DOCTYPE html><a href='together-1.0-py3-none-any.whl'>together</a>",
        "simple/together/index.json": b'{"name":"together"}',
    }
    before = signed_of(shared_daemon, "snapshot")["version"]
    with shared_daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[place(shared_daemon, path, it) for path, it in contents.items()])
    assert isinstance(before, int)
    assert before + 1 == signed_of(shared_daemon, "snapshot")["version"]
    updater = shared_daemon.updater(tmp_path)
    for path, content in contents.items():
        info = updater.get_targetinfo(path)
        assert info is not None
        assert content == Path(updater.download_target(info, str(tmp_path / "download"))).read_bytes()


def test_hash_algorithm_changes_over_without_a_moment_that_clients_cannot_verify(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    path = "packages/cc/dd/transition-1.0.tar.gz"
    for step, algorithms in enumerate((("sha256",), ("sha256", "sha512"), ("sha512",))):
        with shared_daemon.client() as client:
            client.publish_targets(REPOSITORY, add=[place(shared_daemon, path, b"the same content", *algorithms)])
        updater = shared_daemon.updater(tmp_path / str(step))
        info = updater.get_targetinfo(path)
        assert info is not None
        assert set(algorithms) == set(info.hashes)
        assert b"the same content" == Path(updater.download_target(info)).read_bytes()


def test_target_is_served_under_its_plain_name_and_under_each_of_its_hashes(shared_daemon: DaemonProcess) -> None:
    path = "packages/dd/ee/prefixed-1.0.tar.gz"
    listed = place(shared_daemon, path, b"the same bytes", "sha256", "sha512")
    with shared_daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[listed])
    folder, name = path.rsplit("/", 1)
    for file in (name, *(f"{digest}.{name}" for digest in listed.hashes.values())):
        with urllib.request.urlopen(f"{shared_daemon.targets_url}{folder}/{file}", timeout=30) as answer:
            assert b"the same bytes" == answer.read()


def test_removed_project_is_gone_with_all_its_files_and_pages(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    paths = ["packages/ee/ff/revoked-1.0.tar.gz", "simple/revoked/index.html", "simple/revoked/index.json"]
    with shared_daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[place(shared_daemon, path, path.encode()) for path in paths])
        client.publish_targets(REPOSITORY, remove=paths)
    updater = shared_daemon.updater(tmp_path)
    assert [None, None, None] == [updater.get_targetinfo(path) for path in paths]


@pytest.mark.parametrize(
    "path",
    ["packages/11/22/odd-1!2.0+local.1-py3.whl", "simple/a_b.c-d/index.html", "packages/33/44/with space~@(1).zip"],
)
def test_odd_but_legal_names_reach_clients(shared_daemon: DaemonProcess, tmp_path: Path, path: str) -> None:
    with shared_daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[place(shared_daemon, path, b"odd")])
    updater = shared_daemon.updater(tmp_path)
    info = updater.get_targetinfo(path)
    assert info is not None
    assert b"odd" == Path(updater.download_target(info, str(tmp_path / "download"))).read_bytes()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("a/../b", "'..'"),
        ("a/./b", "'.'"),
        ("a//b", "empty segment"),
        ("a/", "empty segment"),
        ("/a", "relative"),
        ("a\\b", "backslash"),
        ('a"b', "quotation mark"),
        ("a\x7fb", "printable"),
        ("a\tb", "printable"),
        ("ä", "ASCII"),
        ("a" * 1025, "longer than 1024"),
    ],
)
def test_name_that_clients_could_read_differently_is_refused_and_told_why(
    shared_daemon: DaemonProcess, path: str, why: str
) -> None:
    with shared_daemon.client() as client, pytest.raises(InvalidRequestError) as caught:
        client.publish_targets(REPOSITORY, add=[Target(path, 1, {"sha256": "0" * 64})])
    assert "TARGET_PATH_INVALID" == caught.value.reason
    assert why in str(caught.value)


def test_every_change_brings_the_next_snapshot_and_the_next_timestamp(shared_daemon: DaemonProcess) -> None:
    seen = []
    for number in range(3):
        path = f"packages/55/66/sequence-{number}.zip"
        with shared_daemon.client() as client:
            client.publish_targets(REPOSITORY, add=[place(shared_daemon, path, b"next")])
        seen.append([signed_of(shared_daemon, role)["version"] for role in ("snapshot", "timestamp")])
    first = seen[0]
    assert isinstance(first[0], int) and isinstance(first[1], int)
    assert [[first[0] + step, first[1] + step] for step in range(3)] == seen


def test_snapshots_are_consistent_and_only_the_timestamp_has_a_name_without_version(
    shared_daemon: DaemonProcess,
) -> None:
    assert signed_of(shared_daemon, "root")["consistent_snapshot"] is True
    names = {file.name for file in (shared_daemon.home / "metadata").glob("*.json")}
    assert ["timestamp.json"] == [name for name in sorted(names) if not name.split(".")[0].isdecimal()]
    meta = signed_of(shared_daemon, "snapshot")["meta"]
    assert isinstance(meta, dict)
    assert {f"{entry['version']}.{name}" for name, entry in meta.items()} <= names
