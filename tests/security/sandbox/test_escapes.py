"""What code in a worker reaches of the machine: nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.security.sandbox.conftest import SUBJECT, OpenPool, sdist
from wharfinger_daemon.sandbox import Layer


async def test_all_required_layers_hold(open_pool: OpenPool) -> None:
    """The worker reports each layer that the settings require as active."""
    pool = await open_pool("FileEscape")
    required = {Layer.NO_NEW_PRIVILEGES, Layer.PARENT_DEATH, Layer.LIMITS, Layer.LANDLOCK, Layer.SECCOMP}
    assert required <= set(pool.hello.active)
    assert set(Layer) == set(pool.hello.active) | set(pool.hello.missing)


@pytest.mark.parametrize("check", ["FileEscape", "ProcessEscape", "NetworkEscape"])
async def test_every_way_out_is_refused(open_pool: OpenPool, check: str) -> None:
    """A hostile check runs to its end and every one of its attempts fails."""
    pool = await open_pool(check)
    examination = await pool.examine(sdist(b"misbehave"), SUBJECT)
    assert [] == [finding.message for finding in examination.findings if finding.rule == "escaped"]
    assert () == examination.unread
    assert len(examination.findings) >= 8


async def test_the_artifact_cannot_be_changed(open_pool: OpenPool, tmp_path: Path) -> None:
    """The descriptor that a worker gets is for reading only, although the daemon's own is not."""
    path = tmp_path / "artifact"
    content = sdist(b"misbehave").getvalue()
    path.write_bytes(content)
    pool = await open_pool("ArtifactTampering")
    with path.open("r+b") as artifact:
        examination = await pool.examine(artifact, SUBJECT)
    assert [] == [finding.message for finding in examination.findings if finding.rule == "escaped"]
    assert () == examination.unread
    assert content == path.read_bytes()


async def test_nothing_is_inherited(open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the daemon's environment nor a descriptor of it is in the worker."""
    monkeypatch.setenv("WHARFINGER_TEST_SECRET", "not for workers")
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        pool = await open_pool("EnvironmentReader")
        examination = await pool.examine(sdist(), SUBJECT)
    finally:
        os.close(secret)
    found = {finding.rule: finding.message for finding in examination.findings}
    # Python itself sets LC_CTYPE in an empty environment (PEP 538).
    assert set(found["environment"].split()) <= {"LC_CTYPE"}
    # The null device three times, the channel, and the artifact.
    assert 5 == len(found["descriptors"].split())


async def test_what_a_check_prints_does_not_reach_the_protocol(open_pool: OpenPool) -> None:
    """Output that looks like frames goes nowhere, and the job is answered."""
    pool = await open_pool("Chatterbox")
    for _ in range(2):
        examination = await pool.examine(sdist(), SUBJECT)
        assert ["spoke"] == [finding.rule for finding in examination.findings]
