"""``wharfinger keys``: as an administrator meets it, on SoftHSM, beside a daemon and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from securesystemslib.signer import Key

from tests.support.daemon_process import DaemonProcess, poll, run_cli
from tests.support.offline_ceremony import OfflineCeremony
from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger_client import Target
from wharfinger_daemon.cli.administration import Connection, key_administration
from wharfinger_daemon.cli.keys import keys as group
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.schema import audit_leaves

COMMANDS = ["generate", "list", "show", "attest", "publish", "activate", "retire", "destroy"]


def keys(home: DaemonProcess, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return run_cli("keys", *arguments, home=home.home, **options)


def told(home: DaemonProcess, *arguments: str) -> Any:
    """What a command says as JSON; it must succeed."""
    result = keys(home, *arguments, "--json")
    assert 0 == result.returncode, result.stderr
    return json.loads(result.stdout)


def states(home: DaemonProcess, *arguments: str) -> dict[str, str]:
    return {key["label"]: key["state"] for key in told(home, "list", *arguments)["keys"]}


def acts(home: DaemonProcess) -> list[tuple[str, str]]:
    """What the log says was done to keys, and by whom."""
    database = Database(f"sqlite:///{home.home / 'wharfinger.db'}")
    try:
        query = audit_leaves.select().order_by(audit_leaves.c.position)
        rows = database.run_blocking(lambda connection: connection.execute(query).all())
    finally:
        database.close()
    leaves = [json.loads(row.data) for row in rows]
    return [(leaf["act"], leaf["caller"]) for leaf in leaves if leaf["act"].startswith("key-")]


# ---- On the signing host, without a daemon ---------------------------------------------------------------------------
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_on_keys_has_help(command: str) -> None:
    assert set(COMMANDS) == set(group.commands)
    result = CliRunner().invoke(group.commands[command], ["--help"])
    assert 0 == result.exit_code
    assert f"Usage: {command}" in result.output


def test_generated_key_waits_and_is_not_generated_again(home: DaemonProcess, tmp_path: Path) -> None:
    pem = tmp_path / "online.pem"
    first = told(home, "generate", "online", "--public-key-file", str(pem))
    assert ("online-1", False, "ecdsa-p256") == (first["label"], first["reused"], first["algorithm"])
    assert first["public_key_pem"] == pem.read_text()
    assert first["keyid"] == Key.from_dict(first["keyid"], dict(first["tuf_key"])).keyid
    again = told(home, "generate", "online")
    assert {**first, "reused": True} == again
    words = keys(home, "generate", "online").stdout
    assert "none was generated" in words and first["keyid"] in words
    assert {"online-1": "generated"} == states(home, "--local")
    assert [("key-generated", "local")] == acts(home)


def test_two_who_generate_at_once_get_the_same_key(home: DaemonProcess) -> None:
    """Otherwise the token would have two keys of one label; and of two canaries none can be used."""
    with ThreadPoolExecutor(3) as people:
        made = list(people.map(lambda person: told(home, "generate", "online"), range(3)))
    assert {"online-1": "generated"} == states(home, "--local")
    assert [False, True, True] == sorted(one["reused"] for one in made)
    assert 1 == len(told(home, "list", "--local")["keys"])


def test_public_key_file_is_not_overwritten_and_no_key_is_made_for_it(home: DaemonProcess, tmp_path: Path) -> None:
    (tmp_path / "taken.pem").write_text("mine")
    result = keys(home, "generate", "online", "--public-key-file", str(tmp_path / "taken.pem"))
    assert (2, "mine") == (result.returncode, (tmp_path / "taken.pem").read_text())
    assert {} == states(home, "--local")


@pytest.mark.long
def test_label_of_a_destroyed_key_is_never_used_again(home: DaemonProcess) -> None:
    first = told(home, "generate", "online")
    assert "destroyed" == told(home, "destroy", first["keyid"][:10], "--confirm", first["keyid"])["state"]
    assert "online-2" == told(home, "generate", "online")["label"]
    assert {"online-1": "destroyed", "online-2": "generated"} == states(home, "--local")
    gone = keys(home, "attest", first["keyid"])
    assert 2 == gone.returncode and "holds" in gone.stderr
    assert "destroyed" == told(home, "destroy", first["keyid"], "--confirm", first["keyid"])["state"]
    assert [("key-generated", "local"), *[("key-destroyed", "local")] * 2, ("key-generated", "local")] == acts(home)


def test_key_is_destroyed_only_by_whoever_types_its_id(home: DaemonProcess) -> None:
    keyid = told(home, "generate", "online")["keyid"]
    for arguments, typed in (([], ""), ([], "12345678\n"), (["--confirm", keyid[:8]], None)):
        refused = keys(home, "destroy", keyid, *arguments, input=typed)
        assert 2 == refused.returncode, refused.stdout
        assert "Nothing was destroyed" in refused.stderr
    destroyed = keys(home, "destroy", keyid, input=f"{keyid[:8]}\n")
    assert 0 == destroyed.returncode, destroyed.stderr
    assert {"online-1": "destroyed"} == states(home, "--local")


@pytest.mark.long
def test_keys_of_canary_and_log_are_no_keys_of_a_line(home: DaemonProcess) -> None:
    canary = told(home, "generate", "canary")
    assert ("canary", True, None) == (canary["label"], canary["reused"], canary["repository"])
    log = told(home, "generate", "log")
    assert ("log", "ed25519") == (log["label"], log["algorithm"])
    assert told(home, "generate", "log")["reused"]
    assert {} == states(home, "--local")
    attested = json.loads(keys(home, "attest", canary["keyid"]).stdout)
    assert "canary" == attested["label"]


def test_line_that_is_not_configured_is_refused(home: DaemonProcess) -> None:
    result = keys(home, "generate", "offline")
    assert 2 == result.returncode
    assert "'online' of 'development'" in result.stderr


def test_attestation_binds_the_attributes_to_the_public_key(home: DaemonProcess, tmp_path: Path) -> None:
    made = told(home, "generate", "online")
    file = tmp_path / "attestation.json"
    result = keys(home, "attest", made["keyid"][:8], "--output", str(file))
    assert (0, "") == (result.returncode, result.stdout), result.stderr
    attestation = json.loads(file.read_text())
    assert (made["keyid"], made["public_key_pem"], []) == (
        attestation["keyid"],
        attestation["public_key_pem"],
        attestation["weaknesses"],
    )
    assert 64 == len(attestation["public_key_sha256"])
    assert attestation["token"]["serial"]
    for attribute, expected in {"local": True, "sensitive": True, "extractable": False, "sign": True}.items():
        assert expected is attestation["attributes"][attribute]
    assert 2 == keys(home, "attest", made["keyid"], "--output", str(file)).returncode, "nothing is overwritten"


def test_beginning_of_an_id_must_name_one_key(home: DaemonProcess) -> None:
    told(home, "generate", "online")
    for prefix, why in (("", "several keys"), ("zz", "No key's id begins")):
        result = keys(home, "attest", prefix)
        assert 2 == result.returncode
        assert why in result.stderr


@pytest.mark.long
def test_local_acts_know_the_verified_metadata_too(home: DaemonProcess) -> None:
    made = told(home, "generate", "online")
    refused = keys(home, "publish", made["keyid"], "--local")
    assert 2 == refused.returncode
    assert "does not list key" in refused.stderr
    assert {"online": "active", "online-1": "generated"} == states(home, "--local")
    retired = told(home, "retire", made["keyid"], "--local")
    assert "retiring" == retired["state"]
    shown = told(home, "show", made["keyid"], "--local")
    assert ("retiring", None, 0) == (shown["state"], shown["held"], shown["needed_by"])
    assert "label       online-1" in keys(home, "show", made["keyid"], "--local").stdout


def test_local_takes_no_address(home: DaemonProcess) -> None:
    result = keys(home, "list", "--local", "--address", "127.0.0.1:1")
    assert 2 == result.returncode
    assert "--local asks no daemon" in result.stderr


def test_daemon_that_is_not_there_is_said_not_to_be(home: DaemonProcess) -> None:
    result = keys(home, "list")
    assert 2 == result.returncode
    assert "No daemon can be reached at" in result.stderr


# ---- Beside a running daemon -----------------------------------------------------------------------------------------
def test_daemon_refuses_what_the_metadata_does_not_say_with_its_reason(daemon: DaemonProcess) -> None:
    made = told(daemon, "generate", "online")
    assert {"online": "active", "online-1": "generated"} == states(daemon)
    for verb, reason in (("publish", "KEY_NOT_PUBLISHED"), ("activate", "KEY_STATE_INVALID")):
        result = keys(daemon, verb, made["keyid"][:8])
        assert 2 == result.returncode
        assert f"({reason})" in result.stderr
    still_active = keys(daemon, "retire", told(daemon, "list")["keys"][-1]["keyid"])
    assert "(KEY_STILL_NEEDED)" in still_active.stderr
    local = keys(daemon, "retire", made["keyid"], "--local")
    assert 2 == local.returncode
    assert "A daemon runs" in local.stderr


def test_caller_without_the_grant_is_refused(daemon: DaemonProcess) -> None:
    tls = daemon.home / "tls"
    identity = ("--certificate", str(tls / "warehouse.crt"), "--key", str(tls / "warehouse.key"))
    result = keys(daemon, "list", *identity)
    assert 2 == result.returncode
    assert "(RPC_NOT_GRANTED)" in result.stderr
    missing = keys(daemon, "list", "--key", str(tls / "absent.key"))
    assert 2 == missing.returncode
    assert "with --key" in missing.stderr
    wrong_address = keys(daemon, "list", "--address", f"127.0.0.1:{daemon.ports['http']}")
    assert 2 == wrong_address.returncode


def bring(daemon: DaemonProcess, *files: tuple[str, bytes]) -> None:
    """Imports what a ceremony made."""
    with key_administration(Connection(daemon.home / "config.toml")) as stub:
        brought = [wire.MetadataFile(name=name, content=content) for name, content in files]
        stub.ImportMetadata(wire.ImportMetadataRequest(repository="development", files=brought), timeout=120)


def tuf_keys(daemon: DaemonProcess) -> dict[str, Key]:
    """Keys by label, as a ceremony has them."""
    return {
        key["label"]: Key.from_dict(
            key["keyid"],
            {"keytype": key["keytype"], "scheme": key["scheme"], "keyval": {"public": key["public_key_pem"]}},
        )
        for key in told(daemon, "list")["keys"]
    }


def test_whole_life_of_a_key_command_by_command(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A new key takes over from the old one, which is destroyed, while the daemon runs; a client goes on verifying."""
    made = told(daemon, "generate", "online")
    ceremony = OfflineCeremony(daemon.home / "metadata", daemon.home / "ceremony")
    known = tuf_keys(daemon)
    old, new = known["online"], known["online-1"]
    bring(daemon, ceremony.root(old, new), ceremony.bins(old, new))
    assert "published" == told(daemon, "publish", made["keyid"])["state"]
    assert "active" == told(daemon, "activate", made["keyid"])["state"]
    assert {"online": "retiring", "online-1": "active"} == states(daemon)
    poll(lambda: 0 == told(daemon, "show", old.keyid)["needed_by"], "everything is signed anew", 120)
    daemon.updater(tmp_path / "client").refresh()
    bring(daemon, ceremony.root(new), ceremony.bins(new))
    assert "retiring" == told(daemon, "retire", old.keyid)["state"]
    assert "destroyed" == told(daemon, "destroy", old.keyid, "--confirm", old.keyid)["state"]
    with daemon.client() as client:
        client.publish_targets("development", add=[Target("packages/late.whl", 1, {"sha256": "0" * 64})])
    updater = daemon.updater(tmp_path / "client")
    updater.refresh()
    assert updater.get_targetinfo("packages/late.whl") is not None
    assert {"online": "destroyed", "online-1": "active"} == states(daemon)
    daemon.stop()
    daemon.start()
    assert {"online": "destroyed", "online-1": "active"} == states(daemon)
    assert [
        ("key-published", "local"),
        ("key-activated", "local"),
        ("key-generated", "local"),
        ("key-published", "security"),
        ("key-activated", "security"),
        ("key-destroyed", "local"),
        ("key-destroyed", "local"),
    ] == acts(daemon)


def test_key_that_is_published_while_somebody_types_its_id_is_not_destroyed(daemon: DaemonProcess) -> None:
    """Two administrators at once: what was true before the question may not be true after the answer."""
    made = told(daemon, "generate", "online")
    ceremony = OfflineCeremony(daemon.home / "metadata", daemon.home / "ceremony")
    known = tuf_keys(daemon)
    command = [sys.executable, "-m", "wharfinger_daemon", "keys", "destroy", made["keyid"]]
    environment = {**os.environ, "WHARFINGER_HOME": str(daemon.home)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, env=environment, stdin=pipe, stdout=pipe, stderr=pipe) as destroying:
        assert destroying.stdin is not None and destroying.stderr is not None
        asked = ""
        while "Type the first" not in asked:  # The question ends without a line feed.
            asked += destroying.stderr.read(1) or pytest.fail(f"nothing was asked: {asked}")
        bring(daemon, ceremony.root(*known.values()), ceremony.bins(*known.values()))
        _, said = destroying.communicate(made["keyid"][:8] + "\n", timeout=120)
    assert 2 == destroying.returncode
    assert "lists key" in said
    assert {"online": "active", "online-1": "generated"} == states(daemon)
    assert "active" == (told(daemon, "publish", made["keyid"]), told(daemon, "activate", made["keyid"]))[1]["state"]
