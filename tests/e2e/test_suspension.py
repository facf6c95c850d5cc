"""The switch in an emergency: nobody gets a signature, clients go on, restarts change nothing, and it is all logged."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical

from tests.support.daemon_process import DaemonProcess, poll, run_cli
from tests.support.repository import targets_of
from wharfinger_client import RefusedError, RetryPolicy, SigningItem, Target, UnavailableError

REPOSITORY = "development"
ONCE = RetryPolicy(max_attempts=1)
GRANT = '"wharfinger.keys.v1.KeyAdminService/*",'


def switch(home: DaemonProcess, *arguments: str) -> Any:
    """Runs ``wharfinger signing …``; returns what it prints as JSON."""
    result = run_cli("signing", *arguments, "--config", str(home.home / "config.toml"), "--json")
    assert 0 == result.returncode, result.stderr
    return json.loads(result.stdout)


def next_snapshot(home: DaemonProcess) -> SigningItem:
    with home.client() as client:
        signed = json.loads(client.get_metadata(REPOSITORY, "snapshot").content)["signed"]
    expires = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    changed = {**signed, "version": signed["version"] + 1, "expires": expires}
    return SigningItem(REPOSITORY, str(encode_canonical(changed)).encode(), "snapshot")


def target(name: str) -> Target:
    return Target(f"packages/{name}.tar.gz", 1, {"sha256": hashlib.sha256(name.encode()).hexdigest()})


def acts(home: DaemonProcess) -> list[tuple[str, str]]:
    """What was done and by whom, but for signatures, as the audit log has it."""
    with closing(sqlite3.connect(f"file:{home.home / 'wharfinger.db'}?mode=ro", uri=True)) as database:
        leaves = [json.loads(data) for (data,) in database.execute("SELECT data FROM audit_leaves ORDER BY position")]
    return [(leaf["act"], leaf["caller"]) for leaf in leaves if leaf["act"].startswith("signing-")]


def signed_between(home: DaemonProcess) -> list[str]:
    """The roles that were signed between the leaf of the suspension and that of its end."""
    with closing(sqlite3.connect(f"file:{home.home / 'wharfinger.db'}?mode=ro", uri=True)) as database:
        leaves = [json.loads(data) for (data,) in database.execute("SELECT data FROM audit_leaves ORDER BY position")]
    kinds = [leaf["act"] for leaf in leaves]
    first, last = kinds.index("signing-suspended"), kinds.index("signing-resumed")
    return [leaf["role"] for leaf in leaves[first:last] if leaf["act"] == "signature"]


@pytest.fixture
def administered(home: DaemonProcess) -> DaemonProcess:
    """A home whose caller ``security`` may use the switch."""
    configuration = home.home / "config.toml"
    text = configuration.read_text()
    if GRANT not in text:
        configuration.write_text(text.replace('san = "security"\nrpcs = [', f'san = "security"\nrpcs = [\n    {GRANT}'))
    return home


def test_nobody_gets_a_signature_until_signing_is_resumed(administered: DaemonProcess, tmp_path: Path) -> None:
    home = administered
    home.start()
    item = next_snapshot(home)
    suspended = switch(home, "suspend", REPOSITORY, "--reason", "Warehouse is compromised")
    assert ("security", True) == (suspended["caller"], suspended["suspended"])
    with home.client(retry=ONCE) as client:
        with pytest.raises(RefusedError) as refused:
            client.sign([item])
        assert "SIGNING_SUSPENDED" == refused.value.reason
        assert "Warehouse is compromised." in refused.value.message
        assert ["SIGNING_SUSPENDED"] == [one.reason for one in client.lint([item])]
        with pytest.raises(UnavailableError) as waiting:
            client.publish_targets(REPOSITORY, add=[target("held-back")])
        assert "PUBLICATION_FAILED" == waiting.value.reason
    assert home.updater(tmp_path / "client").get_targetinfo("packages/absent") is None, "clients still refresh"
    assert [REPOSITORY] == [one["repository"] for one in switch(home, "status")["suspensions"]]
    switch(home, "resume", REPOSITORY)
    assert {"suspensions": []} == switch(home, "status")
    poll(lambda: "packages/held-back.tar.gz" in targets_of(home.home / "metadata"), "what was held back is published")
    assert [("signing-suspended", "security"), ("signing-resumed", "security")] == acts(home)
    assert [] == signed_between(home)


def test_a_restart_resumes_nothing_and_the_daemon_still_serves(administered: DaemonProcess) -> None:
    home = administered
    home.start()
    item = next_snapshot(home)
    with home.client(retry=ONCE) as client:
        switch(home, "suspend", REPOSITORY, "--reason", "A drill.")
        with pytest.raises(UnavailableError):
            client.publish_targets(REPOSITORY, add=[target("prepared")])
    home.kill()
    home.start()
    with home.client(retry=ONCE) as client:
        assert client.get_metadata(REPOSITORY, "timestamp").content
        with pytest.raises(RefusedError) as refused:
            client.sign([item])
        assert "SIGNING_SUSPENDED" == refused.value.reason
        switch(home, "resume", REPOSITORY)
        poll(lambda: "packages/prepared.tar.gz" in targets_of(home.home / "metadata"), "the publication is finished")


def test_the_switch_works_without_a_daemon_and_only_then(administered: DaemonProcess) -> None:
    home = administered
    switch(home, "suspend", REPOSITORY, "--reason", "No daemon any more.", "--local")
    assert ["local"] == [one["caller"] for one in switch(home, "status", "--local")["suspensions"]]
    home.start()
    beside = run_cli("signing", "resume", REPOSITORY, "--local", "--config", str(home.home / "config.toml"))
    assert 2 == beside.returncode
    assert "daemon runs" in beside.stderr
    assert ["No daemon any more."] == [one["reason"] for one in switch(home, "status")["suspensions"]]
    assert 0 == home.stop()
    switch(home, "resume", REPOSITORY, "--local")
    assert [("signing-suspended", "local"), ("signing-resumed", "local")] == acts(home)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("suspend", "other", "--reason", "x", "--local"), "No repository"),
        (("suspend", REPOSITORY, "--reason", " ", "--local"), "needs a reason"),
        (("suspend", REPOSITORY, "--local"), "--reason"),
        (("status", "--local", "--address", "127.0.0.1:1"), "--local asks no daemon"),
        (("resume", REPOSITORY), "No daemon can be reached"),
    ],
    ids=["unknown repository", "empty reason", "no reason", "local and an address", "no daemon"],
)
def test_what_is_asked_for_wrongly_is_refused_in_words(
    administered: DaemonProcess, arguments: tuple[str, ...], told: str
) -> None:
    result = run_cli("signing", *arguments, "--config", str(administered.home / "config.toml"))
    assert (2, "") == (result.returncode, result.stdout)
    assert told in result.stderr
    assert "Traceback" not in result.stderr
