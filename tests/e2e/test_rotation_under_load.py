"""The online key is rotated with an overlap while targets are published and clients refresh: nobody notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, poll
from tests.support.load import (
    Administrator,
    Load,
    assassin,
    key_of,
    published_targets,
    require_one_content_for_each_version,
)
from tests.support.offline_ceremony import OfflineCeremony
from tests.support.repository import VersionWitness


def rotate(daemon: DaemonProcess, load: Load, administrator: Administrator) -> None:
    """The whole path, as the handbook has it."""
    ceremony = OfflineCeremony(daemon.home / "metadata", daemon.home / "ceremony")
    old = administrator.active()
    new = administrator.generates()
    assert new.keyid == administrator.generates().keyid, "a key that waits is taken instead of making another"
    overlap = administrator.brings(
        ceremony.root(key_of(administrator.key(old)), new), ceremony.bins(key_of(administrator.key(old)), new)
    )
    assert {"root": 2, "targets": 1, "bins": 2} == overlap["versions"]
    load.settle()  # Whoever has read the former root does not know the new key: as with the caches of a CDN.
    assert "published" == administrator.does("keys", "publish", new.keyid)["state"]
    assert "active" == administrator.does("keys", "activate", new.keyid)["state"]
    poll(lambda: administrator.key(old)["needed_by"] == 0, "everything is signed anew", 120)
    alone = administrator.brings(ceremony.root(new), ceremony.bins(new))
    assert {"root": 3, "targets": 1, "bins": 3} == alone["versions"]
    administrator.does("keys", "retire", old)
    administrator.does("keys", "destroy", old, "--confirm", old)
    assert ("destroyed", new.keyid) == (administrator.key(old)["state"], administrator.active())
    load.settle()


def test_nobody_notices_a_rotation(daemon: DaemonProcess, tmp_path: Path) -> None:
    """No client fails to verify at any moment, and no publication fails beyond its retries."""
    load = Load(daemon, tmp_path / "clients")
    witness = VersionWitness(daemon.home / "metadata")
    witness.look()
    with load.running():
        rotate(daemon, load, Administrator(daemon))
    witness.look()
    assert ([], [], 0) == (load.unverified, load.refused, load.unreachable)
    assert load.acknowledged == published_targets(daemon, tmp_path / "judge", load.acknowledged)
    require_one_content_for_each_version(daemon)
    assert 0 == daemon.stop()
    daemon.start()
    assert load.acknowledged == published_targets(daemon, tmp_path / "judge", load.acknowledged)
    assert 0 == daemon.stop()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_a_rotation_survives_kill_9_at_any_moment(daemon: DaemonProcess, tmp_path: Path, seed: int) -> None:
    """A client may meet no daemon. What it meets verifies; and no version ever has two contents."""
    load = Load(daemon, tmp_path / "clients")
    witness = VersionWitness(daemon.home / "metadata")
    with load.running():
        with assassin(daemon, seed) as alive:
            rotate(daemon, load, Administrator(daemon, again=alive))
    witness.look()
    assert [] == load.unverified
    assert load.acknowledged == published_targets(daemon, tmp_path / "judge", load.acknowledged)
    require_one_content_for_each_version(daemon)
    assert 0 == daemon.stop()
