"""kill -9 of a process that publishes, at moments that nobody chose."""

from __future__ import annotations

import random
import select
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.ngclient_directory import client_of
from tests.support.repository import VersionWitness, targets_of
from wharfinger_daemon.cli.verify_repository import verify_repository
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.ceremony import create_development_repository
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory

ROOT = Path(__file__).parents[3]
START_SECONDS = 60


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A repository after the ceremony."""
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "online.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "metadata").mkdir()
    await create_development_repository(
        ceremony_directory=tmp_path / "ceremony",
        online_public_key=key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        bins=HashBins(3),
        clock=FixedClock(datetime.now(UTC)),
        store=MetadataDirectory(tmp_path / "metadata"),
    )
    return tmp_path


def command(folder: Path, what: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.publishing_process", str(folder), what]


def publish_and_kill(folder: Path, seconds: float) -> set[str]:
    """The paths that were acknowledged before the kill."""
    with subprocess.Popen(command(folder, "publish"), cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], START_SECONDS)[0], "the publisher did not start"
            assert b"started\n" == process.stdout.readline()
            time.sleep(seconds)  # This is the random moment of the kill, not a wait for something.
        finally:
            process.kill()
        # The last line may have been cut off by the kill.
        lines = process.stdout.read().decode().split("\n")[:-1]
    return {path for line in lines for path in line.split()}


def verify(folder: Path) -> None:
    """What verify-repository finds is nothing, but that development metadata was written with white space."""
    arguments = [str(folder / "metadata"), "--root", str(folder / "metadata" / "1.root.json"), "--processes", "1"]
    ran = CliRunner().invoke(verify_repository, [*arguments, "--headroom-hours", "0", "--json"])
    assert 0 == ran.exit_code, ran.output


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_killed_at_random_moments_the_repository_verifies_and_keeps_what_it_promised(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, kills: int
) -> None:
    chance = random.Random(20300101)
    cache = tmp_path_factory.mktemp("client")
    witness = VersionWitness(folder / "metadata")
    acknowledged: set[str] = set()
    for _ in range(kills):
        acknowledged |= publish_and_kill(folder, chance.uniform(0.0, 0.6))
        witness.look()
        verify(folder)
        assert acknowledged <= targets_of(folder / "metadata").keys()
        client_of(folder / "metadata", cache).refresh()
    assert acknowledged, "nothing was acknowledged, so nothing was tried"
    finished = subprocess.run(command(folder, "finish"), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (0, "started\n") == (finished.returncode, finished.stdout), finished.stderr
    witness.look()
    listed = targets_of(folder / "metadata").keys()
    assert acknowledged <= listed
    changes = {path.rpartition("/")[0] for path in listed}
    assert len(listed) == 3 * len(changes), "a change was published in part"
    client = client_of(folder / "metadata", cache)
    assert all(client.get_targetinfo(path) is not None for path in sorted(acknowledged)[:5])
