"""What the commands say and write, to people and to programs, and what they leave behind when writing fails."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.ceremony.rehearsal import Rehearsal, refused
from tests.support.daemon_process import run_cli
from wharfinger_daemon.cli.ceremony.ceremony_file import read_ceremony_file
from wharfinger_daemon.clock import FixedClock, SystemClock
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.signing.trust import load_trusted_repository
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory


@pytest.mark.parametrize("kind", ["root", "targets", "bins"])
@pytest.mark.parametrize("command", ["stage", "sign", "status", "publish", "import"])
def test_every_command_of_a_ceremony_has_help(rehearsal: Rehearsal, kind: str, command: str) -> None:
    result = rehearsal.run(kind, command, "--help")
    rehearsal.require_done(result)
    assert f"{kind} {command}" in result.stdout


def test_programs_read_json(rehearsal: Rehearsal) -> None:
    folder = rehearsal.folder / "staged"
    file = rehearsal.write(rehearsal.root_text())
    staged = json.loads(rehearsal.run("root", "stage", file, "--output", folder, "--json").stdout)
    assert hashlib.sha256((folder / "staged.canonical-json").read_bytes()).hexdigest() == staged["sha256"]
    assert ("root", 1, False, False, None) == tuple(
        staged[name] for name in ("kind", "version", "complete", "expired", "root_sha256")
    )
    for name in ("alice", "bob"):
        signed = json.loads(rehearsal.try_to_sign(folder, rehearsal.uri(name), "--json").stdout)
        assert rehearsal.signer(name).public_key.keyid == signed["keyid"]
    assert signed["complete"]
    told = json.loads(rehearsal.run("root", "publish", folder, "--output", rehearsal.metadata, "--json").stdout)
    assert {
        str(rehearsal.metadata / name): rehearsal.sha256(name) for name in ("1.root.json", "1.root.record.txt")
    } == {path: digests["sha256"] for path, digests in told["files"].items()}


def test_status_tells_people_who_is_missing(rehearsal: Rehearsal) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    rehearsal.sign(folder, "alice")
    (folder / "signatures" / "x.json").write_text("{")
    result = rehearsal.run("root", "status", folder)
    assert 1 == result.exit_code
    keyid = rehearsal.signer("bob").public_key.keyid
    for told in ("root 1 wants 2 of 3: 1 signed, 1 more needed.", f"missing  bob ({keyid[:8]})", "PROBLEM: 'x.json'"):
        assert told in result.stdout
    (folder / "signatures" / "x.json").unlink()
    rehearsal.sign(folder, "bob")
    result = rehearsal.run("root", "status", folder)
    assert 0 == result.exit_code
    assert "root 1 wants 2 of 3: 2 signed, enough." in result.stdout


def test_staging_tells_people_what_would_be_signed(rehearsal: Rehearsal) -> None:
    file = rehearsal.write(rehearsal.root_text(("alice",), threshold=1))
    result = rehearsal.run("root", "stage", file, "--output", rehearsal.folder / "staged")
    digest = hashlib.sha256((rehearsal.folder / "staged" / "staged.canonical-json").read_bytes()).hexdigest()
    for told in (
        "This is the first version.",
        "WARNING: One key alone can sign 'root'.",
        " ".join(digest[start : start + 8] for start in range(0, 64, 8)),
        "root 1 wants 1 of 1: 0 signed, 1 more needed.",
    ):
        assert told in result.stdout


def test_commands_run_as_programs_and_need_no_home(rehearsal: Rehearsal) -> None:
    """An air-gapped machine has no daemon and no configuration."""
    file = rehearsal.write(rehearsal.root_text())
    folder = rehearsal.folder / "staged"
    result = run_cli("root", "stage", str(file), "--output", str(folder))
    assert 0 == result.returncode, result.stderr
    result = run_cli("root", "sign", str(folder), "--signer", rehearsal.uri("alice"))
    assert 2 == result.returncode
    assert "Nothing was signed" in result.stderr


async def test_daemon_trusts_what_ceremonies_made(rehearsal: Rehearsal) -> None:
    rehearsal.hold_first()
    rehearsal.hold("root", rehearsal.root_text(), "alice", "bob")
    source = MetadataDirectory(rehearsal.metadata)
    trusted = await load_trusted_repository("sample", rehearsal.sha256("1.root.json"), source, SystemClock())
    assert {"root": 2, "targets": 1, "bins": 1} == trusted.versions
    assert 2 == (await read_offline_roles(source)).bins.number


# ---- Files -----------------------------------------------------------------------------------------------------------
def test_folder_that_could_not_be_written_is_removed(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    file = rehearsal.write(rehearsal.root_text())
    monkeypatch.setattr(os, "fsync", _no_space)
    refused(rehearsal.run("root", "stage", file, "--output", rehearsal.folder / "staged"), "No space left")
    assert not (rehearsal.folder / "staged").exists()


def test_signature_that_could_not_be_written_is_removed(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one would stand in the way of the next attempt."""
    folder = rehearsal.stage("root", rehearsal.root_text())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _no_space)
        refused(rehearsal.try_to_sign(folder, rehearsal.uri("alice")), "No space left")
    assert [] == list((folder / "signatures").iterdir())
    rehearsal.sign(folder, "alice")


def _no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_folder_that_is_none_is_refused(rehearsal: Rehearsal) -> None:
    rehearsal.hold_first()
    text = rehearsal.root_text().replace('metadata = "metadata"', 'metadata = "nowhere"')
    refused(rehearsal.run("root", "stage", rehearsal.write(text), "--output", rehearsal.folder / "x"), "is no folder")
    refused(rehearsal.run("root", "status", rehearsal.metadata), "The folder has no staging.json")


@pytest.mark.parametrize("make", ["fifo", "folder", "large"])
def test_what_is_no_file_of_a_ceremony_is_refused(rehearsal: Rehearsal, make: str) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    path = folder / "signatures" / "odd.json"
    if make == "fifo":
        os.mkfifo(path)
    elif make == "folder":
        path.mkdir()
    else:
        path.write_bytes(b" " * 5_000_001)
    refused(rehearsal.run("root", "status", folder), "odd.json", "is larger" if make == "large" else "is no file")


def test_folder_with_too_many_files_is_refused(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wharfinger_daemon.cli.ceremony.folder._MOST_FILES", 2)
    folder = rehearsal.stage("root", rehearsal.root_text())
    rehearsal.sign(folder, "alice", "bob")
    for name in range(3):
        (folder / "signatures" / f"{name}.json").touch()
    refused(rehearsal.run("root", "status", folder), "holds 5 files")


def test_ceremony_file_that_is_too_large_is_refused(rehearsal: Rehearsal) -> None:
    file = rehearsal.write(" " * 1_000_001)
    refused(rehearsal.run("root", "stage", file, "--output", rehearsal.folder / "x"), "is larger than 1000000 bytes")


def test_ceremony_files_in_the_reference_are_valid(rehearsal: Rehearsal) -> None:
    reference = (Path(__file__).parents[3] / "docs/reference/ceremony-file.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", reference, re.DOTALL)
    (rehearsal.folder / "keys").symlink_to(rehearsal.folder)
    kinds = [read_ceremony_file(rehearsal.write(text), SystemClock().now()).plan.kind for text in examples]
    assert ["root", "targets", "bins"] == kinds


def test_files_that_cannot_be_read_are_named(rehearsal: Rehearsal, tmp_path: Path) -> None:
    rehearsal.hold_first()
    (rehearsal.metadata / "1.bins.json").unlink()
    (rehearsal.metadata / "1.bins.json").symlink_to(tmp_path / "nowhere")
    file = rehearsal.write(rehearsal.root_text())
    refused(rehearsal.run("root", "stage", file, "--output", rehearsal.folder / "x"), "1.bins.json is a link")


def test_what_the_system_says_of_an_unreadable_file_is_told(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket cannot be opened as a file, by nobody: unlike permissions, which do not stop root."""
    folder = rehearsal.stage("root", rehearsal.root_text())
    monkeypatch.chdir(folder / "signatures")  # Addresses of sockets are short.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("odd.json")
        refused(rehearsal.run("root", "status", folder), "odd.json cannot be read: No such device or address.")


def test_staged_metadata_that_expired_meanwhile_is_not_signed(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder was carried around for too long."""
    folder = rehearsal.stage("root", rehearsal.root_text(head="lifetime_days = 1"))
    rehearsal.sign(folder, "alice", "bob")
    clock = FixedClock(SystemClock().now() + timedelta(days=2))
    for module in ("signing", "status", "publishing"):
        monkeypatch.setattr(f"wharfinger_daemon.cli.ceremony.{module}.SystemClock", lambda: clock)
    refused(rehearsal.try_to_sign(folder, rehearsal.uri("carol")), "would have expired")
    refused(rehearsal.publish(folder), "would have expired")
    result = rehearsal.run("root", "status", folder)
    assert 1 == result.exit_code
    assert "PROBLEM: it has expired" in result.stdout
    assert json.loads(rehearsal.run("root", "status", folder, "--json").stdout)["expired"]
