"""Ceremonies' metadata is taken into a repository that is published, and python-tuf's client judges at every step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import DownloadError, RepositoryError

from tests.support.importing import NAME, ImportWorld, Process, make_import_world
from tests.support.ngclient_directory import client_of
from tests.support.publishing import target
from wharfinger_daemon.audit.leaf import Act, read_leaf
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_daemon.storage.schema import audit_leaves

PATH = "packages/sample.whl"


@pytest.fixture
async def world(tmp_path: Path) -> ImportWorld:
    return await make_import_world(tmp_path / "world")


@pytest.fixture
async def process(world: ImportWorld) -> AsyncIterator[Process]:
    """A process that publishes, with one target."""
    with world.process() as process:
        await process.open()
        await process.publisher.start()
        await process.publisher.publish([target(PATH)], [], timeout_seconds=30)
        yield process
        await process.publisher.close()


class Watching:
    """Looks with a fresh client and with one that remembers, whenever something becomes visible."""

    def __init__(self, process: Process, tmp_path: Path) -> None:
        self._metadata = process.world.metadata
        self._place = tmp_path / "watching"
        self._looks = 0
        self.failures: list[str] = []
        for name in ("add", "replace_timestamp"):
            self._wrap(process.store, name)

    def look(self, when: str = "now") -> None:
        self._looks += 1
        for cache in ("remembers", f"fresh-{self._looks}"):
            try:
                found = client_of(self._metadata, self._place / cache).get_targetinfo(PATH)
                assert found is not None
            except (RepositoryError, DownloadError) as error:
                self.failures.append(f"{cache} {when}: {type(error).__name__}: {error}")

    def _wrap(self, store: Any, name: str) -> None:
        method: Callable[..., Awaitable[None]] = getattr(store, name)

        async def looked_at(*arguments: Any, **named: Any) -> None:
            await method(*arguments, **named)
            self.look(f"after {name} (look {self._looks})")

        setattr(store, name, looked_at)


def leaves(process: Process) -> list[Any]:
    with process.database.transaction() as connection:
        rows = connection.execute(audit_leaves.select().order_by(audit_leaves.c.position))
        return [read_leaf(row.data) for row in rows]


async def test_rotation_with_overlap_never_shows_a_client_anything_that_does_not_verify(
    world: ImportWorld, process: Process, tmp_path: Path
) -> None:
    old, new, _ = world.keys
    watching = Watching(process, tmp_path)
    watching.look()
    overlap = await process.take(world.ceremony.root(old, new), world.ceremony.bins(old, new))
    assert ("2.root.json", "2.bins.json") == overlap.taken
    assert {"root": 2, "targets": 1, "bins": 2} == overlap.versions
    assert overlap.timestamp_version == (await published_versions(process.store))["timestamp"]
    process.activate(new)
    await _until_signed_by(process, new.keyid)
    only_new = await process.take(world.ceremony.root(new), world.ceremony.bins(new))
    assert {"root": 3, "targets": 1, "bins": 3} == only_new.versions
    watching.look()
    assert [] == watching.failures
    named = await published_versions(process.store)
    assert (1, 3) == (named["targets"], named["bins"])
    imported = [leaf for leaf in leaves(process) if leaf.act is Act.METADATA_IMPORTED]
    assert ["security", "security"] == [leaf.caller for leaf in imported]
    assert "2.root.json:" in str(imported[0].details["files"])


async def test_revoking_fails_clients_between_two_renames_at_most_and_all_recover(
    world: ImportWorld, process: Process, tmp_path: Path
) -> None:
    """The compromised key is revoked at one blow; all that clients meet afterwards is signed by its successor."""
    _, new, _ = world.keys
    watching = Watching(process, tmp_path)
    watching.look()
    outcome = await process.take(world.ceremony.root(new), world.ceremony.bins(new), revoke=True)
    assert ("2.root.json", "2.bins.json") == outcome.taken
    assert {new.keyid} == {keyid for counted in (await process.records.signers()).values() for keyid in counted}
    assert KeyState.ACTIVE is world.states[new.keyid]
    assert 2 == len(watching.failures), watching.failures
    watching.look()
    assert 2 == len(watching.failures), "both clients verify after the second rename"
    result = await process.publisher.publish([target("packages/after.whl")], [], timeout_seconds=30)
    assert result.timestamp_version > outcome.timestamp_version
    watching.look()
    assert 2 == len(watching.failures)


async def test_revoking_keys_of_targets_and_bins_too(world: ImportWorld, process: Process, tmp_path: Path) -> None:
    """The worst case that PEP 458 lists: all keys but root's are replaced."""
    _, new, _ = world.keys
    ceremony = world.ceremony
    ceremony.replace_offline_keys("targets")
    ceremony.replace_offline_keys("bins")
    watching = Watching(process, tmp_path)
    watching.look()
    await process.take(ceremony.root_for("targets", new), ceremony.targets_for_bins(), ceremony.bins(new), revoke=True)
    assert len(watching.failures) <= 2
    before = len(watching.failures)
    watching.look()
    assert before == len(watching.failures), watching.failures
    assert {"root": 2, "targets": 2, "bins": 2} == process.standing.now.repository(NAME).versions


async def test_a_root_alone_has_a_new_timestamp(world: ImportWorld, process: Process) -> None:
    """PEP 458: timestamp and snapshot are updated whenever root is."""
    before = await published_versions(process.store)
    outcome = await process.take(world.ceremony.next("root"))
    after = await published_versions(process.store)
    assert (before["timestamp"] + 1, before["snapshot"] + 1) == (after["timestamp"], after["snapshot"])
    assert after["timestamp"] == outcome.timestamp_version


async def test_the_same_import_again_changes_nothing(world: ImportWorld, process: Process) -> None:
    files = [world.ceremony.next("root"), world.ceremony.next("targets"), world.ceremony.next("bins")]
    first = await process.take(*files)
    leaves_before = len(leaves(process))
    again = await process.take(*files)
    assert ((), first.versions, first.timestamp_version) == (again.taken, again.versions, again.timestamp_version)
    assert leaves_before == len(leaves(process))


async def test_a_dry_run_says_what_would_be_and_changes_nothing(world: ImportWorld, process: Process) -> None:
    files = sorted(file.name for file in world.metadata.iterdir())
    outcome = await process.take(world.ceremony.next("root"), world.ceremony.next("bins"), dry_run=True)
    assert (("2.root.json", "2.bins.json"), 0) == (outcome.taken, outcome.timestamp_version)
    assert {"root": 2, "targets": 1, "bins": 2} == outcome.versions
    assert files == sorted(file.name for file in world.metadata.iterdir())
    assert {"root": 1, "targets": 1, "bins": 1} == process.standing.now.repository(NAME).versions
    assert not [leaf for leaf in leaves(process) if leaf.act is Act.METADATA_IMPORTED]


async def test_several_roots_and_targets_at_once(world: ImportWorld, process: Process, tmp_path: Path) -> None:
    watching = Watching(process, tmp_path)
    ceremony = world.ceremony
    files = [ceremony.next(role) for role in ("root", "root", "targets", "bins", "targets", "bins", "root")]
    outcome = await process.take(*reversed(files))
    assert {"root": 4, "targets": 3, "bins": 3} == outcome.versions
    assert ("2.root.json", "3.root.json", "4.root.json", "2.targets.json") == outcome.taken[:4]
    assert [] == watching.failures


async def test_a_restart_trusts_what_was_imported(world: ImportWorld, process: Process) -> None:
    await process.take(world.ceremony.next("root"), world.ceremony.next("bins"))
    await process.publisher.close()
    with world.process() as second:
        await second.open()
        assert {"root": 2, "targets": 1, "bins": 2} == second.standing.now.repository(NAME).versions
        await second.publisher.start()
        await second.publisher.close()


async def _until_signed_by(process: Process, keyid: str) -> None:
    """Publishing goes on meanwhile."""
    for number in range(200):
        await process.publisher.publish([target(f"packages/meanwhile-{number}.whl")], [], timeout_seconds=30)
        if all([keyid] == list(counted) for counted in (await process.records.signers()).values()):
            return
    raise AssertionError("roles are still signed by the former key")
