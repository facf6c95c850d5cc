"""``wharfinger scan`` on whatever a script may hand to it: what was not scanned never passes for clean."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import poll, run_cli

SCAN = [sys.executable, "-m", "wharfinger_daemon", "scan"]


def answers(output: str) -> dict[str, dict[str, object]]:
    return {answer["path"]: answer for answer in map(json.loads, output.splitlines())}


@contextlib.contextmanager
def scanning(*arguments: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*SCAN, *arguments], **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_regular_file_is_an_error_at_once(tmp_path: Path, kind: str) -> None:
    """A FIFO would block for ever, and /dev/zero never ends."""
    path = {"fifo": str(tmp_path / "fifo"), "device": "/dev/zero", "folder": str(tmp_path)}[kind]
    if kind == "fifo":
        os.mkfifo(path)
    result = run_cli("scan", "--json", "-", input=f"{path}\n")
    assert 2 == result.returncode
    assert (None, True) == (answers(result.stdout)[path]["classification"], bool(answers(result.stdout)[path]["error"]))


def test_a_folder_is_walked_past_links_that_lead_nowhere_or_in_circles(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.whl").write_bytes(b"a")
    (tmp_path / "circle").symlink_to(".")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "nowhere").symlink_to("absent")
    (tmp_path / "linked.whl").symlink_to("below/a.whl")
    os.mkfifo(tmp_path / "fifo")
    result = run_cli("scan", "--json", str(tmp_path))
    assert 0 == result.returncode, result.stderr
    assert {str(tmp_path / "below" / "a.whl"), str(tmp_path / "linked.whl")} == set(answers(result.stdout))


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o311], ids=["closed", "names only", "no names"])
def test_a_folder_that_may_not_be_read_is_an_error_and_not_clean(tmp_path: Path, mode: int) -> None:
    """Silence would look like a clean scan."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.whl").write_bytes(b"a")
    secret.chmod(mode)
    result = run_cli("scan", "--json", str(tmp_path), preexec_fn=without_rights)
    secret.chmod(0o755)
    assert 2 == result.returncode, result.stderr
    assert all(answer["error"] for answer in answers(result.stdout).values()) and result.stdout


@pytest.mark.parametrize("argument", ["", "a\x1b]0;b"])
def test_an_empty_or_odd_name_is_a_file_that_is_not_there(tmp_path: Path, argument: str) -> None:
    """An unset variable in a script must not mean the current folder."""
    result = run_cli("scan", "--json", argument, cwd=tmp_path)
    assert (2, {argument}) == (result.returncode, set(answers(result.stdout)))


def test_names_of_any_bytes_are_scanned_and_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"bad\xff.whl")
    (tmp_path / name).write_bytes(b"a")
    by_folder = run_cli("scan", "--json", str(tmp_path))
    assert (0, {str(tmp_path / name)}) == (by_folder.returncode, set(answers(by_folder.stdout)))
    by_line = subprocess.run(
        [*SCAN, "--json", "-"], input=os.fsencode(tmp_path / name) + b"\nno\0where\n", capture_output=True, timeout=60
    )
    found = answers(by_line.stdout.decode())
    assert (2, {str(tmp_path / name), "no\0where"}) == (by_line.returncode, set(found))
    assert "indeterminate" == found[str(tmp_path / name)]["classification"]
    for_people = subprocess.run([*SCAN, str(tmp_path)], capture_output=True, timeout=60)
    assert (0, True) == (for_people.returncode, b"bad\\udcff.whl" in for_people.stdout)


def test_a_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Escape sequences could hide the line that says threat, and marks of direction could turn it round."""
    for hostile in ("\x1b]0;owned\x07.whl", "\x9b2J.whl", "\u202elhw.whl"):
        (tmp_path / hostile).write_bytes(b"a")
    shown = run_cli("scan", str(tmp_path)).stdout
    assert "\\x1b]0;owned\\x07.whl" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)


def test_a_closed_output_is_not_taken_by_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"a")
    for form in ("--json", "--workers=1"):
        command = f'exec "$@" {form} {tmp_path / "a.whl"} >&- 2>&-'
        result = subprocess.run(["/bin/sh", "-c", command, "sh", *SCAN], timeout=60)
        assert 0 == result.returncode


def test_a_full_disk_is_said_and_is_no_threat(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"a")
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*SCAN, "--json", str(tmp_path)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (2, True) == (result.returncode, "No space left" in result.stderr)
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_ends_the_scan(tmp_path: Path) -> None:
    """As ``head`` does. The status must not be 1, which says that a threat was found."""
    (tmp_path / "a.whl").write_bytes(b"a")
    with scanning("--json", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        line = os.fsencode(tmp_path / "a.whl") + b"\n"
        process.stdin.write(line)
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(line)
        process.stdin.flush()
        assert (2, b"") == (process.wait(30), process.stderr.read())


def test_an_interrupt_ends_a_scan_that_waits_for_paths_and_leaves_no_worker(tmp_path: Path) -> None:
    with scanning("--json", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stderr
        poll(lambda: bool(children(process.pid)), "a worker runs")
        process.stdin.write(b"/dev/null\n")
        process.stdin.flush()
        assert process.stdout and process.stdout.readline()
        workers = children(process.pid)
        process.send_signal(signal.SIGINT)
        assert 2 == process.wait(30)
        assert b"wharfinger: interrupted." == process.stderr.read().splitlines()[-1]
        for worker in workers:
            poll(lambda worker=worker: not Path(f"/proc/{worker}").exists(), "the worker ends")  # type: ignore[misc]


def without_rights() -> None:
    """Takes from root, in a child about to be executed, the right to read what its mode forbids."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert 0 == ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
