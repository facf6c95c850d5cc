"""Staged on the host, without daemon and token; the next start takes it to clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.importing import NAME, ImportWorld, Process, make_import_world
from tests.support.publishing import target
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.errors import InvalidRequestError, Reason, RefusedError, UnavailableError
from wharfinger_daemon.keys.importing import ImportedFile, ImportOutcome, ImportRequest
from wharfinger_daemon.keys.importing_authority import ImportAuthority, NoSuccession
from wharfinger_daemon.keys.importing_local import AbsentSigner, stage_import
from wharfinger_daemon.keys.importing_rules import parse_files
from wharfinger_daemon.metadata.documents import RoleState, snapshot_document
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.planning import Change
from wharfinger_daemon.metadata.published import published_versions, read_offline_roles
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_daemon.storage.import_log import JournalImportLog
from wharfinger_daemon.storage.schema import audit_leaves

File = tuple[str, bytes]


@pytest.fixture
async def world(tmp_path: Path) -> ImportWorld:
    """Published once, by a daemon that does not run any more."""
    made = await make_import_world(tmp_path / "world", bins=2)
    with made.process() as process:
        await process.open()
        await process.publisher.start()
        await process.publisher.close()
    return made


@pytest.fixture
async def host(world: ImportWorld) -> AsyncIterator[Process]:
    with world.process() as process:
        await process.open()
        yield process


async def stage(host: Process, *files: File, revoke: bool = False, dry_run: bool = False) -> ImportOutcome:
    world = host.world
    opened = Repository(
        await read_offline_roles(await including_staged(host.store)),
        host.records,
        host.store,
        AbsentSigner(),
        FixedClock(world.clock.now()),
    )
    authority = ImportAuthority(host.authority.repository, host.standing, None, NoSuccession(), world.clock)
    brought = parse_files([ImportedFile(*file) for file in files])
    log = JournalImportLog(host.journal)
    return await stage_import(ImportRequest(authority, brought, "local", revoke, dry_run, log, world.clock), opened)


async def test_what_was_staged_reaches_clients_with_the_next_start(world: ImportWorld, host: Process) -> None:
    old, new, _ = world.keys
    before = {file.name for file in world.metadata.iterdir()}
    outcome = await stage(host, world.ceremony.root(old, new), world.ceremony.bins(old, new))
    assert (("2.root.json", "2.bins.json"), {"root": 2, "targets": 1, "bins": 2}) == (outcome.taken, outcome.versions)
    assert {".staged"} == {file.name for file in world.metadata.iterdir()} - before
    with host.database.transaction() as connection:
        assert b"metadata-imported" in connection.execute(audit_leaves.select()).all()[-1].data
    with world.process() as daemon:
        await daemon.open()
        await daemon.publisher.start()
        assert 2 == (await published_versions(daemon.store))["bins"]
        await daemon.publisher.close()
    assert {"2.root.json", "2.bins.json"} <= {file.name for file in world.metadata.iterdir()}


async def test_a_token_that_lost_the_key_is_no_obstacle(world: ImportWorld, host: Process) -> None:
    """No daemon could start: the present metadata lists no key that the token holds."""
    _, new, _ = world.keys
    await stage(host, world.ceremony.root(new), world.ceremony.bins(new), revoke=True)
    world.private_keys = world.private_keys[1:]
    with world.process() as daemon:
        await daemon.open()
        await daemon.publisher.start()
        signers = await daemon.records.signers()
        await daemon.publisher.close()
    assert {new.keyid} == {keyid for counted in signers.values() for keyid in counted}
    assert KeyState.ACTIVE is world.states[new.keyid]


async def test_staging_the_same_again_and_other_things_after_it(world: ImportWorld, host: Process) -> None:
    file = world.ceremony.next("root")
    for _ in range(2):
        assert ("2.root.json",) == (await stage(host, file)).taken
    with pytest.raises(UnavailableError) as refused:
        await stage(host, world.ceremony.next("bins"))
    assert "2.root.json" in refused.value.message


async def test_a_dry_run_stages_nothing(world: ImportWorld, host: Process) -> None:
    assert ("2.root.json",) == (await stage(host, world.ceremony.next("root"), dry_run=True)).taken
    assert await host.store.staged() is None


async def test_what_clients_would_refuse_is_refused_here_too(world: ImportWorld, host: Process) -> None:
    _, new, _ = world.keys
    with pytest.raises(RefusedError) as refused:
        await stage(host, world.ceremony.root(new), world.ceremony.bins(new))
    assert Reason.KEY_STILL_NEEDED == refused.value.reason
    with pytest.raises(InvalidRequestError):
        await stage(host, ("2.root.json", b"{}"))


async def test_a_publication_that_was_begun_needs_the_token(world: ImportWorld, host: Process) -> None:
    host.keys.available = False
    with pytest.raises(UnavailableError):
        await host.repository.publish(Change({"packages/begun.whl": target("packages/begun.whl")}))
    with pytest.raises(UnavailableError) as refused:
        await stage(host, world.ceremony.next("targets"))
    assert (Reason.TOKEN_UNAVAILABLE, True) == (refused.value.reason, "Start the daemon" in refused.value.message)
    _, new, _ = world.keys
    outcome = await stage(host, world.ceremony.root(new), world.ceremony.bins(new), revoke=True)
    assert 0 < outcome.timestamp_version


async def test_a_repository_that_was_never_published_takes_a_newer_root(tmp_path: Path) -> None:
    world = await make_import_world(tmp_path / "new", bins=2)
    with world.process() as host:
        await host.open()
        outcome = await stage(host, world.ceremony.next("root"), world.ceremony.next("targets"))
    assert ({"root": 2, "targets": 2, "bins": 1}, 0) == (outcome.versions, outcome.timestamp_version)
    with world.process() as daemon:
        await daemon.open()
        await daemon.publisher.start()
        assert 2 == (await published_versions(daemon.store))["targets"]
        await daemon.publisher.close()


async def test_an_absent_signer_signs_nothing_and_knows_nothing(world: ImportWorld) -> None:
    signer = AbsentSigner()
    with pytest.raises(UnavailableError):
        await signer.sign([snapshot_document(RoleState("snapshot", 1, world.clock.now()), {})])
    with pytest.raises(UnavailableError):
        await signer.claimed()


async def test_where_no_token_is_open_metadata_is_trusted_without_asking_it(world: ImportWorld, host: Process) -> None:
    authority = ImportAuthority(host.authority.repository, host.standing, None, NoSuccession(), world.clock)
    (world.metadata / "2.root.json").write_bytes(world.ceremony.next("root")[1])
    await authority.trust(await authority.verified(host.store), revoke=False, caller="local")
    assert 2 == host.standing.now.repository(NAME).versions["root"]


async def test_keys_without_a_life_are_not_changed(world: ImportWorld, host: Process) -> None:
    lifeless = NoSuccession()
    await lifeless.adopt(NAME)
    await lifeless.succeed(NAME, caller="security")
    assert () == lifeless.problems(host.standing.now.repository(NAME))
