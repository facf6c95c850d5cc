"""python-tuf's client accepts what is published, and refuses what was tampered with."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    UnsignedMetadataError,
)

from tests.integration.metadata.conftest import NewClient
from tests.support.ngclient_directory import client_of
from tests.support.publishing import PublishingWorld, make_world, target
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.publisher import Publisher

PATH = "packages/aa/sample-1.0-py3-none-any.whl"
CONTENT = b"the content of a wheel"
BIN = HashBins(2).role_for(PATH)


@pytest.fixture
async def publisher(world: PublishingWorld) -> AsyncIterator[Publisher]:
    started = await world.publisher()
    await started.start()
    await started.publish([target(PATH, CONTENT)], [], timeout_seconds=30)
    place(world, PATH, CONTENT)
    yield started
    await started.close()


def place(world: PublishingWorld, path: str, content: bytes) -> Path:
    """Puts a target file where clients look: under its hash (TUF specification 1.0.34, section 6.2)."""
    file = world.folder / "targets" / path
    prefixed = file.with_name(f"{hashlib.sha256(content).hexdigest()}.{file.name}")
    prefixed.parent.mkdir(parents=True, exist_ok=True)
    prefixed.write_bytes(content)
    return prefixed


async def test_a_client_downloads_a_published_target(publisher: Publisher, new_client: NewClient) -> None:
    client = new_client()
    info = client.get_targetinfo(PATH)
    assert info is not None
    assert CONTENT == Path(client.download_target(info)).read_bytes()


async def test_a_client_finds_a_change_at_its_next_refresh(publisher: Publisher, new_client: NewClient) -> None:
    new_client().refresh()
    await publisher.publish([target("packages/new.whl")], [PATH], timeout_seconds=30)
    client = new_client()
    assert client.get_targetinfo("packages/new.whl") is not None
    assert client.get_targetinfo(PATH) is None


async def test_a_tampered_target_is_refused(
    world: PublishingWorld, publisher: Publisher, new_client: NewClient
) -> None:
    place(world, PATH, CONTENT).write_bytes(b"the content of a virus")
    client = new_client()
    info = client.get_targetinfo(PATH)
    assert info is not None
    with pytest.raises(LengthOrHashMismatchError):
        client.download_target(info)


async def test_a_tampered_bin_is_refused(world: PublishingWorld, publisher: Publisher, new_client: NewClient) -> None:
    file = world.metadata / f"2.{BIN}.json"
    file.write_bytes(file.read_bytes().replace(hashlib.sha256(CONTENT).hexdigest().encode(), b"0" * 64))
    with pytest.raises(UnsignedMetadataError):
        new_client().get_targetinfo(PATH)


async def test_a_rolled_back_bin_is_refused(
    world: PublishingWorld, publisher: Publisher, new_client: NewClient
) -> None:
    shutil.copy(world.metadata / f"1.{BIN}.json", world.metadata / f"2.{BIN}.json")
    with pytest.raises(BadVersionNumberError):
        new_client().get_targetinfo(PATH)


async def test_a_rolled_back_timestamp_is_refused(
    world: PublishingWorld, publisher: Publisher, new_client: NewClient
) -> None:
    old = (world.metadata / "timestamp.json").read_bytes()
    await publisher.publish([target("packages/new.whl")], [], timeout_seconds=30)
    new_client().refresh()
    (world.metadata / "timestamp.json").write_bytes(old)
    with pytest.raises(BadVersionNumberError):
        new_client().refresh()


async def test_a_rolled_back_snapshot_is_refused(
    world: PublishingWorld, publisher: Publisher, new_client: NewClient
) -> None:
    shutil.copy(world.metadata / "1.snapshot.json", world.metadata / "2.snapshot.json")
    # Whichever differs first: the length, as signatures vary in length, or the hash.
    with pytest.raises((DownloadLengthMismatchError, LengthOrHashMismatchError)):
        new_client().refresh()


async def test_expired_metadata_is_refused_and_welcome_after_renewal(
    world: PublishingWorld, publisher: Publisher, new_client: NewClient, tmp_path: Path
) -> None:
    await publisher.close()
    world.clock.advance(timedelta(days=-2))
    with_old_clock = await world.publisher()
    await with_old_clock.start()
    await with_old_clock.publish([target("packages/old.whl")], [], timeout_seconds=30)
    await with_old_clock.close()
    with pytest.raises(ExpiredMetadataError):
        new_client().refresh()
    world.clock.advance(timedelta(days=2))
    renewing = await world.publisher()
    await renewing.start()
    await renewing.close()
    client = new_client("another client")
    assert client.get_targetinfo("packages/old.whl") is not None


async def test_a_client_accepts_each_number_of_hexadecimal_digits(tmp_path: Path) -> None:
    """Bins are named alike with one, two and three digits, and every bin is found by a client."""
    for bins in (2, 32, 512):
        made = await make_world(tmp_path / str(bins), bins=bins, instant=datetime.now(UTC))
        publisher = await made.publisher()
        await publisher.start()
        paths = [f"packages/file-{n}.whl" for n in range(8)]
        await publisher.publish([target(path) for path in paths], [], timeout_seconds=60)
        await publisher.close()
        made.close()
        client = client_of(made.metadata, tmp_path / f"client-{bins}")
        assert all(client.get_targetinfo(path) is not None for path in paths)
