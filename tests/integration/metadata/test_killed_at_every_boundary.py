"""Wherever a publisher is killed, the next one finishes what was begun, and no version gets two contents."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.ngclient_directory import client_of
from tests.support.publishing import Boundaries, Killed, PublishingWorld, close_quietly, make_world, target
from tests.support.repository import VersionWitness, leftovers, targets_of
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.publisher import PublisherSettings
from wharfinger_daemon.metadata.targets import Target

OLD, KEPT, NEW, NEWEST = (f"packages/{name}.whl" for name in ("old", "kept", "new", "newest"))
# (what is added, what is removed), one call after the other
CHANGES: list[tuple[list[Target], list[str]]] = [([target(NEW)], []), ([target(NEWEST)], [OLD])]
QUIET = PublisherSettings(renewal_check_seconds=3600)


@pytest.fixture
async def template(tmp_path: Path) -> AsyncIterator[PublishingWorld]:
    """A repository that lists OLD and KEPT."""
    made = await make_world(tmp_path / "template")
    publisher = await made.publisher(QUIET)
    await publisher.start()
    await publisher.publish([target(OLD), target(KEPT)], [], timeout_seconds=30)
    await publisher.close()
    yield made
    made.close()


async def publish_until_killed(world: PublishingWorld, boundaries: Boundaries) -> int:
    """Returns how many of the changes were acknowledged."""
    publisher = await world.publisher(
        QUIET,
        records=boundaries.around(world.records),
        store=boundaries.around(world.store),
        signer=boundaries.around(world.signer),
    )
    acknowledged = 0
    with contextlib.suppress(Killed, WharfingerError):
        await publisher.start()
        for add, remove in CHANGES:
            await publisher.publish(add, remove, timeout_seconds=30)
            acknowledged += 1
    await close_quietly(publisher)
    # The kernel lets go of the lock of a process that is gone.
    await world.store.unlock()
    return acknowledged


async def restart(world: PublishingWorld) -> None:
    publisher = await world.publisher(QUIET)
    await publisher.start()
    await publisher.close()


def expected_states(acknowledged: int) -> list[set[str]]:
    """What may be listed: all that was acknowledged, and perhaps the change that was under way."""
    states = [{OLD, KEPT}, {OLD, KEPT, NEW}, {KEPT, NEW, NEWEST}]
    return states[acknowledged : acknowledged + 2]


async def count_boundaries(template: PublishingWorld, folder: Path) -> int:
    world = template.copy(folder)
    boundaries = Boundaries(-1, after=False)
    assert len(CHANGES) == await publish_until_killed(world, boundaries)
    world.close()
    return len(boundaries.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_while_publishing(template: PublishingWorld, tmp_path: Path, after: bool) -> None:
    total = await count_boundaries(template, tmp_path / "counting")
    assert total > 20
    seen: set[str] = set()
    for at in range(total):
        world = template.copy(tmp_path / f"killed-{at}")
        client_of(world.metadata, tmp_path / f"client-{at}").refresh()
        witness = VersionWitness(world.metadata)
        witness.look()
        boundaries = Boundaries(at, after=after)
        acknowledged = await publish_until_killed(world, boundaries)
        where = f"{boundaries.calls[at]} (call {at})"
        seen.add(boundaries.calls[at])
        witness.look()
        listed_before = set(targets_of(world.metadata))
        assert listed_before in expected_states(acknowledged), f"clients saw half a change after {where}"
        await restart(world)
        witness.look()
        listed = set(targets_of(world.metadata))
        assert listed in expected_states(acknowledged), f"a change was lost or halved after {where}"
        client = client_of(world.metadata, tmp_path / f"client-{at}")
        assert (KEPT in listed) == (client.get_targetinfo(KEPT) is not None)
        assert not leftovers(world.metadata), f"something half written was left after {where}"
        world.close()
    assert {"prepare", "sign", "add", "replace_timestamp", "mark_published"} <= seen


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_during_the_first_publication(tmp_path: Path, after: bool) -> None:
    template = await make_world(tmp_path / "template")
    total = await count_boundaries(template, tmp_path / "counting")
    for at in range(total):
        world = template.copy(tmp_path / f"killed-{at}")
        witness = VersionWitness(world.metadata)
        await publish_until_killed(world, Boundaries(at, after=after))
        witness.look()
        await restart(world)
        witness.look()
        targets_of(world.metadata)
        client_of(world.metadata, tmp_path / f"client-{at}").refresh()
        world.close()
    template.close()


async def test_killed_again_and_again_at_the_same_place(template: PublishingWorld, tmp_path: Path) -> None:
    """Finishing is itself killed, many times, and still only repeats."""
    world = template.copy(tmp_path / "world")
    witness = VersionWitness(world.metadata)
    with contextlib.suppress(Killed):
        repository = await world.repository(store=Boundaries(0, after=False).around(world.store))
        await repository.publish(Change({NEW: target(NEW)}))
    for at in range(25):
        boundaries = Boundaries(at, after=True)
        repository = await world.repository(
            records=boundaries.around(world.records),
            store=boundaries.around(world.store),
            signer=boundaries.around(world.signer),
        )
        with contextlib.suppress(Killed):
            await repository.finish()
        witness.look()
    await restart(world)
    witness.look()
    assert {OLD, KEPT, NEW} == set(targets_of(world.metadata))
    newest = await world.records.newest()
    assert newest is not None and (3, True) == (newest.timestamp_version, newest.published)
    world.close()
