"""``wharfinger targets import``, ``add`` and ``remove``; python-tuf's own client is the judge."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess, poll, run_cli

ROWS = 60_000


def row(number: int) -> dict[str, object]:
    content = f"content {number}".encode()
    path = f"packages/{number:05}/example-{number}.tar.gz"
    return {"path": path, "length": len(content), "hashes": {"sha256": hashlib.sha256(content).hexdigest()}}


def write_rows(place: Path, rows: int) -> Path:
    file = place / "rows.jsonl"
    file.write_text("".join(json.dumps(row(number)) + "\n" for number in range(rows)))
    return file


def targets(home: DaemonProcess, *arguments: str, text: str | None = None) -> tuple[int, Any, str]:
    done = run_cli("targets", *arguments, "--json", "--config", str(home.home / "config.toml"), input=text)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def downloaded(daemon: DaemonProcess, place: Path, path: str, content: bytes) -> bytes | None:
    """What a client gets that verifies, where the file is put as Warehouse would."""
    file = daemon.home / "targets" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    updater = daemon.updater(place)
    found = updater.get_targetinfo(path)
    return None if found is None else Path(updater.download_target(found)).read_bytes()


def test_imported_rows_reach_clients_each_bin_signed_once(home: DaemonProcess, tmp_path: Path) -> None:
    file = write_rows(tmp_path, 200)
    with file.open("a") as more:
        more.write('nonsense\n{"path":"../x","length":1,"hashes":{}}\n')
    rejected = tmp_path / "rejected.jsonl"
    code, told, errors = targets(home, "import", str(file), "--rejected", str(rejected))
    assert (1, 200, 2, 4) == (code, told["added"], told["refused"], told["bins_published"])
    assert "line 201" not in errors
    assert [201, 202] == [json.loads(line)["line"] for line in rejected.read_text().splitlines()]
    home.start()
    assert b"content 17" == downloaded(home, tmp_path / "client", str(row(17)["path"]), b"content 17")
    assert ["2.bins-0.json"] == [file.name for file in sorted((home.home / "metadata").glob("[2-9].bins-0.json"))]


def test_csv_comes_from_standard_input_and_again_changes_nothing(home: DaemonProcess) -> None:
    rows = [row(number) for number in range(20)]
    text = "path,length,sha256\n" + "".join(
        f"{one['path']},{one['length']},{one['hashes']['sha256']}\n"  # type: ignore[index]
        for one in rows
    )
    code, told, _ = targets(home, "import", "-", "--format", "csv", text=text)
    assert (0, 20, 0) == (code, told["added"], told["refused"])
    code, again, _ = targets(home, "import", "-", "--format", "csv", text=text)
    assert (0, 20, 0) == (code, again["unchanged"], again["bins_published"])


def test_rows_that_are_not_published_yet_are_published_by_the_next_start(home: DaemonProcess, tmp_path: Path) -> None:
    code, told, _ = targets(home, "import", str(write_rows(tmp_path, 50)), "--publish-later")
    assert (0, 50, 0) == (code, told["added"], told["bins_published"])
    home.start()
    assert b"content 3" == downloaded(home, tmp_path / "client", str(row(3)["path"]), b"content 3")


def test_import_beside_a_running_daemon_is_refused(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    code, told, errors = targets(shared_daemon, "import", str(write_rows(tmp_path, 1)))
    assert (2, None) == (code, told)
    assert "Stop it first" in errors


def test_header_that_is_none_is_refused_before_anything_is_read(home: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("name,size\na,1\n")
    code, told, errors = targets(home, "import", str(file))
    assert (2, None) == (code, told)
    assert "The first line must name the columns" in errors


@pytest.mark.parametrize("moment", ["rows", "signing"])
def test_import_that_was_killed_goes_on(home: DaemonProcess, tmp_path: Path, moment: str) -> None:
    file = write_rows(tmp_path, ROWS)
    command = [sys.executable, "-m", "wharfinger_daemon", "targets", "import", str(file)]
    running = subprocess.Popen(
        [*command, "--config", str(home.home / "config.toml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    metadata = home.home / "metadata"
    try:
        if moment == "signing":
            poll(lambda: running.poll() is not None or any(metadata.glob("2.bins-*.json")), "a bin is signed")
        else:
            poll(lambda: running.poll() is not None or _rows_written(home.home), "a chunk is written")
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    code, told, errors = targets(home, "import", str(file))
    assert (0, ROWS) == (code, told["added"] + told["unchanged"])
    assert "going on from there" in errors or -signal.SIGKILL != running.returncode
    home.start()
    for number in (0, ROWS - 1):
        content = f"content {number}".encode()
        assert content == downloaded(home, tmp_path / "client", str(row(number)["path"]), content)


def _rows_written(home: Path) -> bool:
    with closing(sqlite3.connect(home / "wharfinger.db")) as database:
        return bool(database.execute("SELECT lines FROM target_imports").fetchall())


def test_target_is_added_from_a_file_and_removed(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    content, path = b"one file", "packages/one/file-1.0.whl"
    file = tmp_path / "file"
    file.write_bytes(content)
    code, told, _ = targets(shared_daemon, "add", path, str(file), "--algorithm", "sha256", "--algorithm", "sha512")
    assert (0, 1) == (code, len(told["bins"]))
    assert content == downloaded(shared_daemon, tmp_path / "client", path, content)
    code, told, _ = targets(shared_daemon, "remove", path, "packages/never/was")
    assert (0, 1) == (code, len(told["bins"]))
    assert downloaded(shared_daemon, tmp_path / "client", path, content) is None
    code, told, _ = targets(shared_daemon, "remove", path)
    assert (0, {}) == (code, told["bins"])


def test_target_is_added_by_length_and_hash(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    content, path = b"elsewhere", "packages/two/file-1.0.whl"
    digest = hashlib.sha256(content).hexdigest()
    code, _, _ = targets(shared_daemon, "add", path, "--length", "9", "--hash", f"sha256={digest}")
    assert 0 == code
    assert content == downloaded(shared_daemon, tmp_path / "client", path, content)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["add", "a/path"], "Name FILE"),
        (["add", "a/path", "--length", "1"], "Name FILE"),
        (["add", "a/path", "--length", "1", "--hash", "sha256"], "ALGORITHM=HEX"),
        (["add", "../path", "--length", "1", "--hash", "sha256=" + "0" * 64], "TARGET_PATH_INVALID"),
        (["add", "a/path", "--length", "1", "--hash", "md5=" + "0" * 64], "TARGET_INVALID"),
        (["remove", "/a/path"], "TARGET_PATH_INVALID"),
        (["remove", "a/path", "--repository", "unknown"], "UNKNOWN_REPOSITORY"),
        (["remove", "a/path", "--address", "127.0.0.1:1"], "UNAVAILABLE"),
    ],
    ids=["nothing", "length-alone", "hash-without-value", "path", "algorithm", "absolute", "repository", "no-daemon"],
)
def test_wrong_change_is_told_and_changes_nothing(shared_daemon: DaemonProcess, arguments: list[str], why: str) -> None:
    code, told, errors = targets(shared_daemon, *arguments)
    assert (2, None) == (code, told)
    assert why in errors


def test_people_are_told_where_clients_see_it(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    done = run_cli(
        "targets", "add", "packages/three/x.whl", str(file), "--config", str(shared_daemon.home / "config.toml")
    )
    assert 0 == done.returncode, done.stderr
    assert "Clients see it from timestamp" in done.stdout


def test_offline_metadata_is_sent_to_the_command_that_takes_it_in(home: DaemonProcess) -> None:
    code, told, errors = targets(home, "import", str(home.home / "metadata" / "1.targets.json"))
    assert (2, None) == (code, told)
    assert "wharfinger root import" in errors


def test_no_row_is_written_while_something_that_was_begun_cannot_be_finished(
    home: DaemonProcess, tmp_path: Path
) -> None:
    """While bins grow, a target may have its row in either bin: it is finished first, or nothing is done."""
    (home.home / "metadata" / ".staged").write_bytes(b"no note")
    code, told, errors = targets(home, "import", str(write_rows(tmp_path, 10)))
    assert (2, None) == (code, told)
    assert errors
    with closing(sqlite3.connect(home.home / "wharfinger.db")) as database:
        assert [(0,)] == database.execute("SELECT count(*) FROM targets").fetchall()
