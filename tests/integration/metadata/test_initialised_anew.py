"""A repository that is lost is made anew, with other keys, and everything in it is signed again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuf.api.exceptions import RepositoryError

from tests.support.ngclient_directory import client_of
from tests.support.publishing import PublishingWorld, make_world, target

PATHS = [f"packages/{number:02x}/sample-1.{number}.tar.gz" for number in range(50)]


async def publish(world: PublishingWorld) -> None:
    publisher = await world.publisher()
    await publisher.start()
    await publisher.publish([target(path) for path in PATHS], [], timeout_seconds=30)
    await publisher.close()
    world.close()


async def test_repository_that_was_initialised_anew_takes_the_same_targets(tmp_path: Path) -> None:
    former, anew = await make_world(tmp_path / "former"), await make_world(tmp_path / "anew")
    await publish(former)
    await publish(anew)
    client = client_of(anew.metadata, tmp_path / "new client")
    assert PATHS == [path for path in PATHS if client.get_targetinfo(path) is not None]
    client_of(former.metadata, tmp_path / "old client").refresh()
    (anew.metadata / "1.root.json").write_bytes((former.metadata / "1.root.json").read_bytes())
    with pytest.raises(RepositoryError):
        client_of(anew.metadata, tmp_path / "old client").refresh()
