"""Bins become more while clients look on: python-tuf's client is the judge, also one that was there before."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tuf.api.metadata import Targets

from tests.support.importing import ImportWorld, Process, make_import_world
from tests.support.ngclient_directory import client_of
from tests.support.publishing import Boundaries, Killed, target
from tests.support.repository import VersionWitness, published_versions, targets_of
from wharfinger_daemon.bin_delegation import DelegationForm
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.publisher import Publisher
from wharfinger_daemon.metadata.reading import MetadataReader
from wharfinger_daemon.storage import listed_targets

FEW, MANY = HashBins(1), HashBins(3)
PATHS = [f"packages/{number:02x}/sample-1.{number}.tar.gz" for number in range(30)]
IMPORT = ["log", "stage", "add", "assign", "prepare", "sign", "replace_timestamp", "mark_published"]


def grow(signed: Targets) -> None:
    assert signed.delegations is not None and signed.delegations.succinct_roles is not None
    keyids = signed.delegations.succinct_roles.keyids
    signed.delegations = MANY.delegation(keyids, 1).delegations(signed.delegations.keys)


async def make_published(folder: Path, bins: int = FEW.number) -> ImportWorld:
    world = await make_import_world(folder, bins=bins)
    with world.process() as process:
        await process.open()
        await process.publisher.start()
        await process.publisher.publish([target(path) for path in PATHS], [], timeout_seconds=30)
        await process.publisher.close()
    return world


def found_by(world: ImportWorld, cache: Path, paths: list[str]) -> list[str]:
    client = client_of(world.metadata, cache)
    return [path for path in paths if client.get_targetinfo(path) is not None]


async def end(process: Process) -> None:
    publisher = getattr(process, "publisher", None)
    if isinstance(publisher, Publisher):
        with contextlib.suppress(Killed, WharfingerError):
            await publisher.close()
    # The kernel lets go of the lock of a process that is gone.
    await process.directory.unlock()


async def test_client_of_before_finds_everything_in_bins_that_became_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listed_targets, "_ASSIGNED_AT_ONCE", 7)
    world = await make_published(tmp_path / "world")
    cache = tmp_path / "cache"
    assert PATHS == found_by(world, cache, PATHS)
    before = published_versions(world.metadata)
    with world.process() as process:
        await process.open()
        await process.publisher.start()
        reader = MetadataReader(process.directory, FEW)
        assert FEW.role_for(PATHS[0]) == (await reader.target(PATHS[0])).role
        await process.take(world.ceremony.next("bins", grow))
        assert PATHS == found_by(world, cache, PATHS)
        assert [MANY.role_for(path) for path in PATHS] == [(await reader.target(path)).role for path in PATHS]
        after = published_versions(world.metadata)
        assert before["snapshot"] + 1 == after["snapshot"]
        assert {role: before.get(role, 0) + 1 for role in MANY.roles()} == {role: after[role] for role in MANY.roles()}
        await process.publisher.publish([target("packages/new.whl")], PATHS[:1], timeout_seconds=30)
        assert [*PATHS[1:], "packages/new.whl"] == found_by(world, cache, [*PATHS, "packages/new.whl"])
        await process.publisher.close()
    assert {*PATHS[1:], "packages/new.whl"} == targets_of(world.metadata).keys()


@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.long), True], ids=["before", "after"])
async def test_killed_while_bins_grow(tmp_path: Path, after: bool) -> None:
    template = await make_published(tmp_path / "template")
    file = template.ceremony.next("bins", grow)
    counting = Boundaries(-1, after=False)
    await import_until_killed(template.copy(tmp_path / "counting"), file, counting)
    first = counting.calls.index("log")
    for at in range(first, len(counting.calls)):
        world, cache = template.copy(tmp_path / f"killed-{at}"), tmp_path / f"client-{at}"
        assert PATHS == found_by(world, cache, PATHS)
        witness = VersionWitness(world.metadata)
        witness.look()
        boundaries = Boundaries(at, after=after)
        await import_until_killed(world, file, boundaries)
        where = f"{boundaries.calls[at]} (call {at})"
        witness.look()
        assert PATHS == found_by(world, cache, PATHS), f"clients saw half of the growing after {where}"
        with world.process() as process:
            await process.open()
            await process.publisher.start()
            assert PATHS == found_by(world, cache, PATHS), f"clients do not verify after {where} and a restart"
            await process.take(file)
            await process.publisher.publish([target(f"packages/{at}.whl")], [], timeout_seconds=30)
            await process.publisher.close()
        witness.look()
        assert {*PATHS, f"packages/{at}.whl"} == targets_of(world.metadata).keys()
        assert PATHS == found_by(world, tmp_path / f"fresh-{at}", PATHS)
    assert set(IMPORT) <= set(counting.calls[first:])


async def import_until_killed(world: ImportWorld, file: tuple[str, bytes], boundaries: Boundaries) -> None:
    with world.process(boundaries.around) as process:
        with contextlib.suppress(Killed, WharfingerError):
            await process.open()
            await process.publisher.start()
            await process.take(file)
        await end(process)


async def test_more_bins_that_nobody_imported_do_not_start(tmp_path: Path) -> None:
    """A file that was put into the store by hand: the targets were not spread over its bins."""
    world = await make_published(tmp_path / "world")
    name, content = world.ceremony.next("bins", grow)
    (world.metadata / name).write_bytes(content)
    with world.process() as process:
        await process.open()
        with pytest.raises(WharfingerError, match="Bins grow only by an import"):
            await process.publisher.start()


def test_bins_grow_under_names_of_the_same_length() -> None:
    assert MANY.grows_from(FEW) and HashBins(12).grows_from(HashBins(9))
    by_prefixes = HashBins(3, form=DelegationForm.PATH_HASH_PREFIXES)
    for other in (FEW, HashBins(5), HashBins(3, "other"), by_prefixes):
        assert not other.grows_from(FEW)
