"""The programs that client libraries are told to learn from, against a real daemon and against attackers in between."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.ngclient._internal import trusted_metadata_set

from tests.support.daemon_process import DaemonProcess
from wharfinger_client import Target

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
REPOSITORY = "development"
VERIFIED, NOT_VERIFIED, NOT_LISTED, UNREACHABLE, EXPIRED = 0, 1, 3, 4, 5


def publish(daemon: DaemonProcess, path: str, content: bytes) -> None:
    file = daemon.home / "targets" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    hashes = {"sha256": hashlib.sha256(content).hexdigest()}
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[Target(path, len(content), hashes)])


def run(example: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / example), *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)


class Place:
    """One user's machine: a trusted root, a cache, a folder for files."""

    def __init__(self, daemon: DaemonProcess, folder: Path) -> None:
        self.daemon, self.folder = daemon, folder
        folder.mkdir()
        self.root = folder / "1.root.json"
        shutil.copy(daemon.home / "metadata" / "1.root.json", self.root)

    def download(self, *paths: str, metadata: object = None, files: object = None) -> subprocess.CompletedProcess[str]:
        where = (
            *("--metadata", metadata or self.daemon.metadata_url, "--targets", files or self.daemon.targets_url),
            *("--root", self.root, "--cache", self.folder / "cache", "--into", self.folder / "files"),
        )
        return run("download_verified.py", *where, *paths)

    def mirror(self, to: Path, *paths: str) -> subprocess.CompletedProcess[str]:
        where = ("--metadata", self.daemon.metadata_url, "--targets", self.daemon.targets_url)
        kept = ("--root", self.root, "--cache", self.folder / "mirror-cache", "--files", to / "files")
        return run("mirror_metadata.py", *where, *kept, to / "metadata", *paths)


@pytest.fixture
def place(shared_daemon: DaemonProcess, tmp_path: Path) -> Place:
    return Place(shared_daemon, tmp_path / "user")


def test_installer_resolves_by_the_simple_page_and_installs_the_file(place: Place) -> None:
    wheel = "packages/aa/sampled-1.0-py3-none-any.whl"
    publish(place.daemon, wheel, b"a wheel")
    publish(place.daemon, "simple/sampled/index.json", json.dumps({"files": [{"url": wheel}]}).encode())

    done = place.download("simple/sampled/index.json", wheel)

    assert (VERIFIED, "") == (done.returncode, done.stderr)
    page, file = map(Path, done.stdout.splitlines())
    assert (wheel, b"a wheel") == (json.loads(page.read_bytes())["files"][0]["url"], file.read_bytes())
    assert VERIFIED == place.download(wheel).returncode


def test_file_that_was_exchanged_is_not_installed(place: Place) -> None:
    path = "packages/bb/exchanged-1.0.tar.gz"
    publish(place.daemon, path, b"what was signed")
    (place.daemon.home / "targets" / path).write_bytes(b"what is there!!")
    done = place.download(path)
    assert (NOT_VERIFIED, "") == (done.returncode, done.stdout)
    assert "does not verify" in done.stderr
    assert [] == list((place.folder / "files").iterdir())


def test_endless_file_is_cut_off(place: Place) -> None:
    path = "packages/bb/endless-1.0.tar.gz"
    publish(place.daemon, path, b"short")
    (place.daemon.home / "targets" / path).write_bytes(b"long" * 1_000_000)
    assert NOT_VERIFIED == place.download(path).returncode


def test_file_that_is_already_there_and_was_changed_is_downloaded_again(place: Place) -> None:
    path = "packages/bb/changed-1.0.tar.gz"
    publish(place.daemon, path, b"good")
    [file] = map(Path, place.download(path).stdout.splitlines())
    file.write_bytes(b"evil")
    assert VERIFIED == place.download(path).returncode
    assert b"good" == file.read_bytes()


def test_what_is_not_listed_is_told_from_what_does_not_verify(place: Place) -> None:
    assert NOT_LISTED == place.download("packages/zz/unknown-1.0.tar.gz").returncode


def test_index_out_of_reach_is_told_from_an_attack(place: Place) -> None:
    assert UNREACHABLE == place.download("packages/a", metadata="http://127.0.0.1:9/").returncode


def test_index_whose_news_are_kept_away_is_told_from_one_that_lies(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Freeze: somebody shows the last state that the index signed, a month later."""

    class MonthLater(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=31)

    monkeypatch.setattr(trusted_metadata_set.datetime, "datetime", MonthLater)
    program = str(EXAMPLES / "download_verified.py")
    where = ["--metadata", place.daemon.metadata_url, "--targets", place.daemon.targets_url, "--root", str(place.root)]
    monkeypatch.setattr("sys.argv", [program, *where, "--cache", str(place.folder), "--into", str(place.folder), "a"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(program, run_name="__main__")
    assert EXPIRED == ended.value.code
    assert "expired" in capsys.readouterr().err


def test_root_of_another_index_trusts_nothing_of_this_one(place: Place, tmp_path: Path) -> None:
    other = json.loads(place.root.read_bytes())
    other["signed"]["version"] = 2
    place.root.write_text(json.dumps(other))
    assert NOT_VERIFIED == place.download("packages/a").returncode


def test_mirror_serves_a_machine_without_a_network(place: Place, tmp_path: Path) -> None:
    path = "packages/cc/mirrored-1.0.tar.gz"
    publish(place.daemon, path, b"mirrored")
    mirror = tmp_path / "mirror"

    first, again = place.mirror(mirror, path), place.mirror(mirror, path)

    assert (VERIFIED, "") == (first.returncode, first.stderr)
    assert "0 files are new\n" == again.stdout
    offline = Place(place.daemon, tmp_path / "offline")
    done = offline.download(path, metadata=mirror / "metadata", files=mirror / "files")
    assert (VERIFIED, b"mirrored") == (done.returncode, Path(done.stdout.strip()).read_bytes())


def test_mirror_that_goes_back_to_an_older_state_is_refused(place: Place, tmp_path: Path) -> None:
    """Rollback: whoever has seen the newer state does not believe the older one any more."""
    path = "packages/dd/withdrawn-1.0.tar.gz"
    publish(place.daemon, path, b"vulnerable")
    mirror, older = tmp_path / "mirror", tmp_path / "older"
    place.mirror(mirror, path)
    shutil.copytree(mirror, older)
    with place.daemon.client() as client:
        client.publish_targets(REPOSITORY, remove=[path])
    assert VERIFIED == place.mirror(mirror).returncode
    user = Place(place.daemon, tmp_path / "reader")
    assert NOT_LISTED == user.download(path, metadata=mirror / "metadata", files=mirror / "files").returncode
    assert NOT_VERIFIED == user.download(path, metadata=older / "metadata", files=older / "files").returncode


def test_mirror_of_an_index_that_does_not_verify_stays_as_it_was(place: Place, tmp_path: Path) -> None:
    publish(place.daemon, "packages/ee/kept-1.0.tar.gz", b"kept")
    mirror = tmp_path / "mirror"
    place.mirror(mirror)
    before = (mirror / "metadata" / "timestamp.json").read_bytes()
    publish(place.daemon, "packages/ee/new-1.0.tar.gz", b"new")
    versions = json.loads((place.daemon.home / "metadata" / "timestamp.json").read_bytes())["signed"]["meta"]
    snapshot = place.daemon.home / "metadata" / f"{versions['snapshot.json']['version']}.snapshot.json"
    meta = json.loads(snapshot.read_bytes())["signed"]["meta"]
    forged = [place.daemon.home / "metadata" / f"{meta[name]['version']}.{name}" for name in meta if "-" in name]
    contents = {file: file.read_bytes() for file in forged}
    try:
        for file, content in contents.items():
            file.write_bytes(content.replace(b'"length":', b'"length":1', 1))
        assert NOT_VERIFIED == place.mirror(mirror).returncode
    finally:
        for file, content in contents.items():
            file.write_bytes(content)
    assert before == (mirror / "metadata" / "timestamp.json").read_bytes()
    assert VERIFIED == place.mirror(mirror).returncode
