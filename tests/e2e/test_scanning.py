"""Scanning through the daemon and without it: verdicts, hostile archives, references, and nothing lost."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, poll, run_cli
from wharfinger_client import (
    ArtifactPath,
    ArtifactUrl,
    Classification,
    InvalidRequestError,
    NotFoundError,
    NotGrantedError,
    Scan,
    ScanState,
    Subject,
    WharfingerError,
)

# Harmless: what it decodes and runs is a comment. The shape is that of a dropper in an installer.
DROPPER = b"""\
import base64
from setuptools import setup
exec(base64.b64decode("IyBub3RoaW5nIGF0IGFsbA=="))
setup(name="example", version="1.0")
"""
CLEAN = b'from setuptools import setup\nsetup(name="example", version="1.0")\n'


def sdist(*, setup: bytes = CLEAN, extra: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        members = {"PKG-INFO": b"Metadata-Version: 2.1\nName: example\nVersion: 1.0\n", "setup.py": setup}
        for name, content in {**members, **(extra or {})}.items():
            info = tarfile.TarInfo(f"example-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def wheel(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def scan(daemon: DaemonProcess, content: bytes, filename: str = "example-1.0.tar.gz") -> Scan:
    with daemon.client() as client:
        subject = Subject.file(project="example", version="1.0", filename=filename)
        return client.scan_file(io.BytesIO(content), subject=subject).scan


def test_a_clean_sdist_is_benign(shared_daemon: DaemonProcess) -> None:
    result = scan(shared_daemon, sdist())
    assert (ScanState.FINISHED, Classification.BENIGN) == (result.state, result.classification)


def test_a_dropper_in_setup_py_is_found_with_its_place(shared_daemon: DaemonProcess) -> None:
    result = scan(shared_daemon, sdist(setup=DROPPER))
    assert Classification.THREAT == result.classification
    heaviest = result.findings[0]
    assert ("example-1.0/setup.py", 3) == (heaviest.member, heaviest.line)
    assert "exec(base64.b64decode" in heaviest.excerpt


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive at all", sdist()[:-30], wheel({"a.py": b"x = 1\n" * 1000})[:-40]],
    ids=["empty", "garbage", "truncated tar", "truncated zip"],
)
def test_what_cannot_be_read_is_never_benign(shared_daemon: DaemonProcess, content: bytes) -> None:
    result = scan(shared_daemon, content)
    assert ScanState.FINISHED == result.state
    assert result.classification in (Classification.INDETERMINATE, Classification.THREAT)


def test_a_bomb_is_never_benign_and_harms_nobody(shared_daemon: DaemonProcess) -> None:
    bomb = wheel({f"{number}.bin": bytes(120_000_000) for number in range(3)})
    result = scan(shared_daemon, bomb, "example-1.0-py3-none-any.whl")
    assert result.classification in (Classification.INDETERMINATE, Classification.THREAT)
    assert Classification.BENIGN == scan(shared_daemon, sdist(extra={"after": b"the bomb"})).classification


def test_a_member_that_climbs_out_is_found(shared_daemon: DaemonProcess) -> None:
    result = scan(shared_daemon, wheel({"../../etc/cron.d/x": b"", "a.py": b""}), "example-1.0-py3-none-any.whl")
    assert "path-traversal" in {finding.rule for finding in result.findings}


def test_names_that_are_not_text_do_not_break_the_answer(shared_daemon: DaemonProcess) -> None:
    raw = wheel({"aaaa.py": b"x"}).replace(b"aaaa.py", b"\xff\xfe\x00\x1b.py"[:7])
    assert scan(shared_daemon, raw, "example-1.0-py3-none-any.whl").classification is not None


def test_the_same_bytes_are_answered_from_the_record(shared_daemon: DaemonProcess) -> None:
    content = sdist(extra={"same": b"again"})
    subject = Subject.file(project="example", version="1.0", filename="same-1.0.tar.gz")
    with shared_daemon.client() as client:
        first = client.scan_file(io.BytesIO(content), subject=subject)
        second = client.scan_file(io.BytesIO(content), subject=subject)
    assert (False, True) == (first.replayed, second.replayed)
    assert first.scan == second.scan


def test_bytes_that_are_not_what_was_announced_are_refused(shared_daemon: DaemonProcess) -> None:
    subject = Subject.file(project="example", version="1.0", filename="x.tar.gz")
    with shared_daemon.client() as client, pytest.raises(InvalidRequestError) as caught:
        client.scan_file(io.BytesIO(b"other"), subject=subject, sha256="0" * 64)
    assert "DIGEST_MISMATCH" == caught.value.reason


def test_scans_are_listed_in_pages_and_filtered(shared_daemon: DaemonProcess) -> None:
    for number in range(3):
        content = sdist(extra={"n": str(number).encode()})
        with shared_daemon.client() as client:
            subject = Subject.file(project="listed", version="1.0", filename=f"listed-{number}.tar.gz")
            client.scan_file(io.BytesIO(content), subject=subject)
    with shared_daemon.client("moderator") as client:
        found = list(client.list_scans(project="listed", page_size=2))
        assert ["listed-2.tar.gz", "listed-1.tar.gz", "listed-0.tar.gz"] == [one.subject.filename for one in found]
        assert [] == list(client.list_scans(project="listed", classification=Classification.THREAT))
        assert found[0].scan_id == client.get_scan(found[0].scan_id).scan_id
        with pytest.raises(NotFoundError):
            client.get_scan("no-such-scan")
        with pytest.raises(NotGrantedError):
            client.scan_file(io.BytesIO(b"x"), subject=Subject.file(project="a", version="1", filename="b"))


def test_by_default_no_path_and_no_host_is_read(shared_daemon: DaemonProcess) -> None:
    subject = Subject.file(project="example", version="1.0", filename="x.tar.gz")
    with shared_daemon.client() as client:
        for artifact in (ArtifactPath("x"), ArtifactPath("/etc/passwd"), ArtifactUrl("https://localhost/x")):
            with pytest.raises(WharfingerError) as caught:
                client.create_scan(subject, "0" * 64, artifact)
            assert isinstance(caught.value, NotGrantedError | InvalidRequestError)


def with_artifact_root(home: DaemonProcess) -> Path:
    root = home.home / "artifacts"
    root.mkdir()
    configuration = home.home / "config.toml"
    configuration.write_text(configuration.read_text().replace("[scan]\n", '[scan]\nartifact_roots = ["artifacts"]\n'))
    return root


def test_an_artifact_beneath_a_root_is_scanned_by_reference(home: DaemonProcess) -> None:
    root = with_artifact_root(home)
    content = sdist(setup=DROPPER)
    (root / "aa").mkdir()
    (root / "aa" / "example-1.0.tar.gz").write_bytes(content)
    (root / "escape").symlink_to("/etc/passwd")
    home.start()
    subject = Subject.file(project="example", version="1.0", filename="example-1.0.tar.gz")
    with home.client() as client:
        created = client.create_scan(
            subject, hashlib.sha256(content).hexdigest(), ArtifactPath("aa/example-1.0.tar.gz")
        )
        done = client.wait_for_scan(created.scan.scan_id, timeout=60)
        assert Classification.THREAT == done.classification
        for path in ("escape", "../config.toml", "aa/../../pin"):
            with pytest.raises(WharfingerError):
                client.create_scan(subject, "1" * 64, ArtifactPath(path))
        wrong = client.create_scan(subject, "2" * 64, ArtifactPath("aa/example-1.0.tar.gz"))
        failed = client.wait_for_scan(wrong.scan.scan_id, timeout=60)
        assert (ScanState.ERROR, None) == (failed.state, failed.classification)
    assert 0 == home.stop()


def test_kill_9_loses_no_scan_by_reference(home: DaemonProcess) -> None:
    root = with_artifact_root(home)
    contents = [sdist(extra={"n": str(number).encode() * 1000}) for number in range(20)]
    for number, content in enumerate(contents):
        (root / f"{number}.tar.gz").write_bytes(content)
    home.start()
    scan_ids = []
    with home.client() as client:
        for number, content in enumerate(contents):
            subject = Subject.file(project="example", version="1.0", filename=f"{number}.tar.gz")
            digest = hashlib.sha256(content).hexdigest()
            scan_ids.append(client.create_scan(subject, digest, ArtifactPath(f"{number}.tar.gz")).scan.scan_id)
    home.kill()
    home.start()
    with home.client() as client:
        for scan_id in scan_ids:
            assert Classification.BENIGN == client.wait_for_scan(scan_id, timeout=60).classification
    assert 0 == home.stop()


# ---- Without a daemon ------------------------------------------------------------------------------------------------
def test_the_command_line_answers_in_json_and_by_its_status(tmp_path: Path) -> None:
    (tmp_path / "clean-1.0.tar.gz").write_bytes(sdist())
    (tmp_path / "dropper-1.0.tar.gz").write_bytes(sdist(setup=DROPPER))
    clean = run_cli("scan", "--json", str(tmp_path / "clean-1.0.tar.gz"))
    assert 0 == clean.returncode, clean.stderr
    answer = json.loads(clean.stdout)
    keys = {"path", "sha256", "classification", "confidence", "score", "findings", "error", "seconds"}
    assert keys == set(answer)
    assert "benign" == answer["classification"]
    both = run_cli("scan", "--json", str(tmp_path))
    assert 1 == both.returncode
    answers = {Path(one["path"]).name: one for one in map(json.loads, both.stdout.splitlines())}
    assert "threat" == answers["dropper-1.0.tar.gz"]["classification"]
    finding = answers["dropper-1.0.tar.gz"]["findings"][0]
    assert {"check", "rule", "member", "line", "message", "weight"} <= set(finding)


def test_the_command_line_shows_a_person_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "dropper-1.0.tar.gz").write_bytes(sdist(setup=DROPPER))
    shown = run_cli("scan", str(tmp_path / "dropper-1.0.tar.gz"))
    assert 1 == shown.returncode
    assert "threat" in shown.stdout and "example-1.0/setup.py:3" in shown.stdout


def test_a_file_that_is_not_there_is_an_error_and_not_benign(tmp_path: Path) -> None:
    result = run_cli("scan", "--json", str(tmp_path / "absent"))
    assert 2 == result.returncode
    answer = json.loads(result.stdout)
    assert (None, True) == (answer["classification"], bool(answer["error"]))


def test_paths_from_standard_input_are_answered_at_once(tmp_path: Path) -> None:
    """A program keeps one scanner open: each line is answered before the next is written."""
    artifact = tmp_path / "clean-1.0.tar.gz"
    artifact.write_bytes(sdist())
    with subprocess.Popen(
        [sys.executable, "-m", "wharfinger_daemon", "scan", "--json", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in range(2):
            process.stdin.write(f"{artifact}\n")
            process.stdin.flush()
            assert "benign" == json.loads(process.stdout.readline())["classification"]
        process.stdin.close()
        assert 0 == process.wait(60)


def test_scans_are_counted(shared_daemon: DaemonProcess) -> None:
    import urllib.request

    scan(shared_daemon, sdist(extra={"counted": b"1"}))
    address = f"http://127.0.0.1:{shared_daemon.ports['administration_http']}/metrics"

    def counted() -> bool:
        with urllib.request.urlopen(address) as response:
            return b'wharfinger_scans_total{classification="benign"}' in response.read()

    poll(counted, "the scan is counted")
