"""A daemon with several tokens: clones with the same keys, of which one goes and comes back, and a key file beside."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.security.attacker import doubled_versions
from tests.support.daemon_process import DaemonProcess, poll
from tests.support.load import REPOSITORY, Administrator, Load, key_of, published_targets, target
from tests.support.offline_ceremony import OfflineCeremony
from tests.support.repository import VersionWitness
from wharfinger_hsm.softhsm import find_module

TOKEN = """
[[hsm.tokens]]
name = "{name}"
module = "{module}"
label = "wharfinger-development"
pin_file = "{pin}"

[hsm.tokens.environment]
SOFTHSM2_CONF = "{folder}/softhsm2.conf"
"""

SIGNERS = """
[[hsm.tokens]]
name = "cloud"
kind = "signers"

[[hsm.tokens.signers]]
uri = "file2:{key}"
public_key_file = "{public}"
label = "cloud-1"
"""


def configure(home: DaemonProcess, *tokens: str) -> None:
    """Replaces the one token of a home."""
    file = home.home / "config.toml"
    text = re.sub(r'(?m)^(module|token_label|pin_file|SOFTHSM2_CONF) = ".*"\n', "", file.read_text())
    file.write_text(text.replace("[hsm.environment]\n", "") + "".join(tokens))


def token(home: DaemonProcess, name: str, folder: Path) -> str:
    return TOKEN.format(name=name, module=find_module(), pin=home.home / "pin", folder=folder)


class Twins:
    """Two tokens with the same keys, as cloned HSMs are."""

    def __init__(self, home: DaemonProcess) -> None:
        self._home = home
        self._east, self._west = home.home / "softhsm", home.home / "west"
        shutil.copytree(self._east, self._west)
        own = self._west / "softhsm2.conf"
        own.write_text(own.read_text().replace(str(self._east), str(self._west)))
        configure(home, token(home, "east", self._east), token(home, "west", self._west))

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """One token is out of reach in the block. A worker that has its keys in memory is out of reach, too."""
        tokens = (self._east if name == "east" else self._west) / "tokens"
        away = tokens.rename(tokens.with_name("away"))
        if self._home.process is not None:
            os.kill(self.worker(name), signal.SIGKILL)
        try:
            yield
        finally:
            away.rename(tokens)

    def workers(self) -> dict[str, int]:
        """The process ids of the workers that are there, by token."""
        folders = {"east": self._east, "west": self._west}
        found: dict[str, int] = {}
        for pid in self._home.children()["hsm"]:
            environment = Path(f"/proc/{pid}/environ").read_text()
            found |= {name: pid for name, folder in folders.items() if f"{folder}/softhsm2.conf" in environment}
        return found

    def worker(self, name: str) -> int:
        poll(lambda: name in self.workers(), f"a worker of token '{name}' runs")
        return self.workers()[name]


def publishes(home: DaemonProcess, path: str) -> None:
    with home.client() as client:
        client.publish_targets(REPOSITORY, add=[target(path)], timeout=60)


def test_a_token_goes_and_comes_back_while_targets_are_published(home: DaemonProcess, tmp_path: Path) -> None:
    """First the one, then the other: no publication fails beyond its retries, and every client verifies throughout."""
    twins = Twins(home)
    home.start()
    witness = VersionWitness(home.home / "metadata")
    witness.look()
    load = Load(home, tmp_path / "clients")
    with load.running():
        for name in ("east", "west", "east"):
            with twins.without(name):
                load.settle()
            twins.worker(name)
            load.settle()
    witness.look()
    assert ([], [], 0) == (load.unverified, load.refused, load.unreachable)
    assert load.acknowledged == published_targets(home, tmp_path / "judge", load.acknowledged)
    assert 0 == home.stop()
    assert [] == doubled_versions(home)


def test_a_token_that_was_away_at_the_start_signs_when_the_other_goes(home: DaemonProcess) -> None:
    twins = Twins(home)
    with twins.without("east"):
        home.start()
        assert "Token 'east' is not in use" in home.log()
        publishes(home, "packages/west-alone.tar.gz")
    twins.worker("east")
    with twins.without("west"):
        publishes(home, "packages/east-alone.tar.gz")
    assert 0 == home.stop()
    assert [] == doubled_versions(home)


def test_a_copy_of_a_key_is_not_forgotten_when_the_key_is_destroyed(home: DaemonProcess) -> None:
    twins = Twins(home)
    home.start()
    administrator = Administrator(home)
    made = administrator.does("keys", "generate", "online", "--token", "east")["keyid"]
    with twins.without("west"):
        told = administrator.refused("keys", "destroy", made, "--confirm", made)
    assert "nothing was destroyed" in told
    assert "generated" == administrator.key(made)["state"]


@pytest.fixture
def key_file(tmp_path: Path) -> tuple[Path, Path]:
    """A key in a file, in place of one in a cloud, and its public key."""
    private = ec.generate_private_key(ec.SECP256R1())
    secret, public = tmp_path / "key", tmp_path / "key.pub"
    secret.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return secret, public


def test_the_online_key_moves_from_an_hsm_to_a_signer_uri(
    home: DaemonProcess, key_file: tuple[Path, Path], tmp_path: Path
) -> None:
    """Canary and log stay on the token; everything else is signed by the other from then on."""
    secret, public = key_file
    signers = SIGNERS.format(key=secret, public=public)
    configure(home, token(home, "hsm", home.home / "softhsm"), signers)
    home.start()
    administrator = Administrator(home)
    ceremony = OfflineCeremony(home.home / "metadata", home.home / "ceremony")
    old, new = administrator.active(), key_of({"public_key_pem": public.read_text()})
    both = (key_of(administrator.key(old)), new)
    administrator.brings(ceremony.root(*both), ceremony.bins(*both))
    administrator.does("keys", "activate", new.keyid)
    poll(lambda: administrator.key(old)["needed_by"] == 0, "everything is signed anew", 120)
    administrator.brings(ceremony.root(new), ceremony.bins(new))
    administrator.does("keys", "destroy", old, "--confirm", old)

    publishes(home, "packages/by-the-other.tar.gz")

    wanted = {"packages/by-the-other.tar.gz"}
    assert wanted == published_targets(home, tmp_path / "judge", wanted)
    assert 0 == home.stop()
    home.start()
    assert (new.keyid, "destroyed") == (administrator.active(), administrator.key(old)["state"])
    assert 0 == home.stop()
    assert [] == doubled_versions(home)
