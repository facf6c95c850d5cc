"""The online key is in other hands: it is revoked at one blow, as PEP 458 lists it, and clients that saw the old state
accept the new."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Timestamp

from tests.support.daemon_process import DaemonProcess, run_cli
from tests.support.load import (
    ALWAYS,
    REPOSITORY,
    Administrator,
    Load,
    assassin,
    published_targets,
    require_one_content_for_each_version,
    target,
)
from tests.support.ngclient_directory import client_of
from tests.support.offline_ceremony import OfflineCeremony
from tests.support.repository import VersionWitness
from wharfinger_daemon import config
from wharfinger_daemon.custody.opening import open_token


def revoke(daemon: DaemonProcess, administrator: Administrator, *options: str) -> tuple[str, str]:
    """Replaces the keys of all roles but root; returns the keyids of the revoked online key and of its successor."""
    ceremony = OfflineCeremony(daemon.home / "metadata", daemon.home / "ceremony")
    old, new = administrator.active(), administrator.generates()
    ceremony.replace_offline_keys("targets")
    ceremony.replace_offline_keys("bins")
    files = [ceremony.root_for("targets", new), ceremony.targets_for_bins(), ceremony.bins(new)]
    administrator.brings(*files, options=("--revoke", *options))
    return old, new.keyid


def signed_with(daemon: DaemonProcess) -> set[str]:
    """The keys of all signatures that clients meet in online metadata."""
    metadata = daemon.home / "metadata"
    timestamp: Metadata[Timestamp] = Metadata.from_file(str(metadata / "timestamp.json"))
    snapshot = Metadata.from_file(str(metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json"))
    found = {*timestamp.signatures, *snapshot.signatures}
    for name, meta in snapshot.signed.meta.items():
        if name.startswith("bins-"):
            found |= set(Metadata.from_file(str(metadata / f"{meta.version}.{name}")).signatures)
    return found


def test_a_compromised_key_is_revoked_at_one_blow(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Only refreshes that were under way may fail, and they succeed when they try again."""
    load = Load(daemon, tmp_path / "clients")
    witness = VersionWitness(daemon.home / "metadata")
    administrator = Administrator(daemon)
    with load.running():
        load.settle()
        old, new = revoke(daemon, administrator)
        assert {new} == signed_with(daemon)
        load.settle()
        failed = len(load.unverified)
        load.settle()
    witness.look()
    assert failed == len(load.unverified), "everybody verifies once the import has returned"
    assert all("Unsigned" in how for _, _, how in load.unverified), load.unverified
    assert failed <= 4, load.unverified
    assert ([], 0) == (load.refused, load.unreachable)
    assert load.acknowledged == published_targets(daemon, tmp_path / "judge", load.acknowledged)
    require_one_content_for_each_version(daemon)
    assert ("retiring", 0) == (administrator.key(old)["state"], administrator.key(old)["needed_by"])
    administrator.does("keys", "destroy", old, "--confirm", old)
    assert 0 == daemon.stop()


def test_what_the_thief_signs_deceives_nobody_afterwards(daemon: DaemonProcess, tmp_path: Path) -> None:
    """The thief holds back the new state, or shows the old one again, which was signed by the revoked key."""
    metadata = daemon.home / "metadata"
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[target(ALWAYS)])
    stolen = tmp_path / "stolen"
    shutil.copytree(metadata, stolen)
    remembers = tmp_path / "remembers"
    assert daemon.updater(remembers).get_targetinfo(ALWAYS) is not None
    revoke(daemon, Administrator(daemon))
    assert daemon.updater(remembers).get_targetinfo(ALWAYS) is not None
    assert 0 == daemon.stop()
    shutil.copy(stolen / "timestamp.json", metadata / "timestamp.json")
    for place in (remembers / "metadata", tmp_path / "fresh"):
        with pytest.raises(UnsignedMetadataError):
            client_of(metadata, place).refresh()


def test_when_the_token_has_lost_its_key_no_daemon_is_needed(home: DaemonProcess, tmp_path: Path) -> None:
    """The present metadata lists no key of the token, so no daemon starts; the import is staged on the host."""
    home.start()
    with home.client() as client:
        client.publish_targets(REPOSITORY, add=[target(ALWAYS)])
    remembers = tmp_path / "remembers"
    assert home.updater(remembers).get_targetinfo(ALWAYS) is not None
    administrator = Administrator(home)
    new = administrator.generates()
    message = administrator.refused("root", "import", "--local", str(home.home / "metadata" / "1.root.json"))
    assert "--local" in message, "beside a running daemon it is refused"
    assert 0 == home.stop()
    asyncio.run(lose_the_online_key(home))
    home.start(wait=False)
    assert 2 == home.ended()
    assert "The token holds no key that may sign" in home.log()
    ceremony = OfflineCeremony(home.home / "metadata", home.home / "ceremony")
    files = [ceremony.root(new), ceremony.bins(new)]
    assert "revoke" in administrator.refused("root", "import", "--local", *place_files(home, files))
    assert not (home.home / "metadata" / ".staged").exists()
    staged = administrator.brings(*files, options=("--local", "--revoke"))
    assert ({"root": 2, "targets": 1, "bins": 2}, ["2.root.json", "2.bins.json"]) == (
        staged["versions"],
        staged["taken"],
    )
    home.start()
    assert home.updater(remembers).get_targetinfo(ALWAYS) is not None
    assert home.updater(tmp_path / "fresh").get_targetinfo(ALWAYS) is not None
    assert {new.keyid} == signed_with(home)
    assert 0 == home.stop()


def place_files(home: DaemonProcess, files: list[tuple[str, bytes]]) -> list[str]:
    brought = home.home / "brought"
    brought.mkdir(exist_ok=True)
    for name, content in files:
        (brought / name).write_bytes(content)
    return [str(brought / name) for name, _ in files]


async def lose_the_online_key(home: DaemonProcess) -> None:
    settings = config.load(home.home / "config.toml")
    assert settings.hsm is not None
    async with open_token(settings.hsm, settings.state_directory) as token:
        [lost] = [key for key in await token.keys() if key.label == "online"]
        await token.destroy(lost.public_key)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_a_recovery_survives_kill_9_at_any_moment(daemon: DaemonProcess, tmp_path: Path, seed: int) -> None:
    """However often the daemon dies, clients verify in the end, and no version ever has two contents."""
    load = Load(daemon, tmp_path / "clients")
    witness = VersionWitness(daemon.home / "metadata")
    with load.running():
        with assassin(daemon, 100 + seed) as alive:
            _, new = revoke(daemon, Administrator(daemon, again=alive))
        load.settle()
        failed = len(load.unverified)
        load.settle()
    witness.look()
    assert failed == len(load.unverified)
    assert {new} == signed_with(daemon)
    assert load.acknowledged == published_targets(daemon, tmp_path / "judge", load.acknowledged)
    require_one_content_for_each_version(daemon)
    assert 0 == daemon.stop()


def test_help_is_there_for_each_way_in() -> None:
    for group in ("root", "bins"):
        shown = run_cli(group, "import", "--help")
        assert (0, True) == (shown.returncode, "--revoke" in shown.stdout)
