"""Wherever a process is killed while it takes metadata in, the next one finishes it, or nothing of it happened."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.importing import NAME, ImportWorld, Process, make_import_world
from tests.support.ngclient_directory import client_of
from tests.support.publishing import Boundaries, Killed, target
from tests.support.repository import VersionWitness, leftovers
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.metadata.publisher import Publisher
from wharfinger_daemon.signing.standing import KeyState

PATH = "packages/sample.whl"


@dataclass
class Scene:
    """A repository before an import, and the files that are brought."""

    world: ImportWorld
    files: list[tuple[str, bytes]]
    revoke: bool

    def copy(self, folder: Path) -> Scene:
        return Scene(self.world.copy(folder), self.files, self.revoke)


@pytest.fixture(params=["overlap", "revoke", "revoke-everything"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    world = await make_import_world(tmp_path / "template")
    with world.process() as process:
        await process.open()
        await process.publisher.start()
        await process.publisher.publish([target(PATH)], [], timeout_seconds=30)
        await process.publisher.close()
    old, new, _ = world.keys
    ceremony = world.ceremony
    if request.param == "overlap":
        files = [ceremony.root(old, new), ceremony.bins(old, new), ceremony.next("targets")]
    elif request.param == "revoke":
        files = [ceremony.root(new), ceremony.bins(new)]
    else:
        ceremony.replace_offline_keys("targets")
        ceremony.replace_offline_keys("bins")
        files = [ceremony.root_for("targets", new), ceremony.targets_for_bins(), ceremony.bins(new)]
    yield Scene(world, files, revoke=request.param != "overlap")


async def import_until_killed(scene: Scene, boundaries: Boundaries) -> bool:
    """Returns whether the import was acknowledged."""
    done = False
    with scene.world.process(boundaries.around) as process:
        with contextlib.suppress(Killed, WharfingerError):
            await process.open()
            await process.publisher.start()
            await process.take(*scene.files, revoke=scene.revoke)
            done = True
        await _end(process)
    return done


async def _end(process: Process) -> None:
    publisher = getattr(process, "publisher", None)
    if isinstance(publisher, Publisher):
        with contextlib.suppress(Killed, WharfingerError):
            await publisher.close()
    # The kernel lets go of the lock of a process that is gone.
    await process.directory.unlock()


def client_verifies(scene: Scene, cache: Path) -> bool:
    return client_of(scene.world.metadata, cache).get_targetinfo(PATH) is not None


def visible(world: ImportWorld, names: set[str]) -> bool:
    return names <= {file.name for file in world.metadata.iterdir()}


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.long)], ids=["before", "after"])
async def test_killed_while_importing(scene: Scene, tmp_path: Path, after: bool) -> None:
    counting = Boundaries(-1, after=False)
    assert await import_until_killed(scene.copy(tmp_path / "counting"), counting)
    first = counting.calls.index("log")
    assert len(counting.calls) - first > 10
    seen: set[str] = set()
    for at in range(first, len(counting.calls)):
        one = scene.copy(tmp_path / f"killed-{at}")
        cache = tmp_path / f"client-{at}"
        assert client_verifies(one, cache)
        witness = VersionWitness(one.world.metadata)
        witness.look()
        boundaries = Boundaries(at, after=after)
        acknowledged = await import_until_killed(one, boundaries)
        where = f"{boundaries.calls[at]} (call {at})"
        seen.add(boundaries.calls[at])
        witness.look()
        if not scene.revoke:
            assert client_verifies(one, cache), f"clients saw half an import after {where}"
        with one.world.process() as process:
            await process.open()
            await process.publisher.start()
            assert client_verifies(one, cache), f"clients do not verify after {where} and a restart"
            taken = process.standing.now.repository(NAME).versions["root"] == 2
            assert taken or not acknowledged
            assert taken == visible(one.world, {"2.root.json", "2.bins.json"}), f"half an import after {where}"
            assert not leftovers(one.world.metadata), f"something was left after {where}"
            outcome = await process.take(*scene.files, revoke=scene.revoke)
            assert 2 == outcome.versions["root"]
            await process.publisher.publish([target(f"packages/{at}.whl")], [], timeout_seconds=30)
            if scene.revoke:
                signers = await process.records.signers()
                assert all([one.world.keys[1].keyid] == list(counted) for counted in signers.values())
            await process.publisher.close()
        witness.look()
        assert client_verifies(one, cache)
        assert client_verifies(one, tmp_path / f"fresh-{at}")
    assert {"log", "stage", "add", "sign", "replace_timestamp", "mark_published"} <= seen


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_while_everything_is_signed_anew_after_an_activation(tmp_path: Path, after: bool) -> None:
    """A publication that was begun with one key is finished after another was activated: what was in the store already
    keeps its content."""
    template = await make_import_world(tmp_path / "template")
    with template.process() as process:
        await process.open()
        await process.publisher.start()
        await process.publisher.publish([target(PATH)], [], timeout_seconds=30)
        old, new, _ = template.keys
        await process.take(template.ceremony.root(old, new), template.ceremony.bins(old, new))
        await process.publisher.close()
    total = 40
    at = 0
    while at < total:
        world = template.copy(tmp_path / f"killed-{at}")
        witness = VersionWitness(world.metadata)
        boundaries = Boundaries(at, after=after)
        with world.process(boundaries.around) as process:
            with contextlib.suppress(Killed, WharfingerError):
                await process.open()
                await process.publisher.start()
                await process.publisher.publish([target("packages/killed.whl")], [], timeout_seconds=30)
                total = len(boundaries.calls)
            await _end(process)
        witness.look()
        world.states = {old.keyid: KeyState.RETIRING, new.keyid: KeyState.ACTIVE}
        with world.process() as process:
            await process.open()
            await process.publisher.start()
            witness.look()
            await process.publisher.publish([target("packages/next.whl")], [], timeout_seconds=30)
            assert client_of(world.metadata, tmp_path / f"client-{at}").get_targetinfo(PATH) is not None
            await process.publisher.close()
        witness.look()
        at += 1
    assert total > 10
