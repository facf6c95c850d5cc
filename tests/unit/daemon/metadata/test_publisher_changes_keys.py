"""Another key signs from some moment on: what was begun is finished, and everything is signed anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from tests.support.publishing import PublishingWorld, target
from wharfinger_daemon.errors import CorruptStateError, Reason, RefusedError, UnavailableError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.intake import Intake
from wharfinger_daemon.metadata.memory_store import MemoryStore
from wharfinger_daemon.metadata.planning import Change, OnlineKeys
from wharfinger_daemon.metadata.ports import VersionedFile
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.metadata.publisher import Publisher, PublisherSettings
from wharfinger_daemon.metadata.repository import Repository

BINS = HashBins(2)
IN_BIN_0 = next(f"file-{n}" for n in range(100) if BINS.role_for(f"file-{n}") == "bins-0")
IN_BIN_1 = next(f"file-{n}" for n in range(100) if BINS.role_for(f"file-{n}") == "bins-1")
QUIET = PublisherSettings(renewal_check_seconds=3600, max_renewed_at_once=3, first_retry_seconds=0.01)
ONLINE = [*BINS.roles(), "snapshot", "timestamp"]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.005)


def files_of(world: PublishingWorld) -> dict[str, bytes]:
    assert isinstance(world.store, MemoryStore)
    return world.store.files


async def signed_with(world: PublishingWorld) -> dict[str, str]:
    """The key of each online role, as clients see it, read from the files."""
    versions = await published_versions(world.store)
    names = {role: f"{versions[role]}.{role}.json" for role in ONLINE} | {"timestamp": "timestamp.json"}
    found: dict[str, str] = {}
    for role, name in names.items():
        [found[role]] = Metadata.from_bytes(files_of(world)[name]).signatures
    return found


async def prepared(world: PublishingWorld, path: str = IN_BIN_0) -> Repository:
    """A repository with a publication that could not be signed."""
    repository = await world.repository()
    world.signer.available = False
    with pytest.raises(UnavailableError):
        await repository.publish(Change({path: target(path)}))
    world.signer.available = True
    return repository


async def test_the_key_of_every_role_is_written_down(world: PublishingWorld, publisher: Publisher) -> None:
    await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    states = await world.records.states()
    assert await signed_with(world) == {role: states[role].keyid for role in ONLINE}
    assert {"targets": "", "bins": ""} == {role: states[role].keyid for role in ("targets", "bins")}
    only = {world.signer.active: 1}
    assert {"bins": {world.signer.active: 4}, "snapshot": only, "timestamp": only} == await world.records.signers()


async def test_everything_is_signed_anew_at_once_in_parts(world: PublishingWorld) -> None:
    publisher = await world.publisher(QUIET)
    await publisher.start()
    old, new = world.signer.active, CryptoSigner.generate_ecdsa()
    world.signer.activate(new)
    before = len(world.signer.batches)
    publisher.look_again()
    # Who publishes meanwhile need not wait for all of it.
    result = await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    assert result.bin_versions

    async def all_new() -> bool:
        return old not in (await signed_with(world)).values()

    await until(all_new)
    assert {new.public_key.keyid} == set((await signed_with(world)).values())
    assert max(world.signer.batches[before:]) <= 3
    await publisher.close()
    quiet = dict(files_of(world))
    again = await world.publisher(QUIET)
    await again.start()
    await again.close()
    assert quiet == files_of(world), "nothing is left to sign anew"


async def test_a_start_does_not_wait_until_everything_is_signed_anew(world: PublishingWorld) -> None:
    first = await world.publisher(QUIET)
    await first.start()
    await first.close()
    world.signer.activate(CryptoSigner.generate_ecdsa())
    repository = await world.repository()
    assert not await repository.renew_late(100)
    await repository.publish(Change(), await repository.due(100))
    assert {world.signer.active} == set((await signed_with(world)).values())


async def test_what_expires_is_renewed_before_what_another_key_signed(world: PublishingWorld) -> None:
    first = await world.publisher(QUIET)
    await first.start()
    await first.close()
    repository = await world.repository()
    others = await world.records.signed_by_others(OnlineKeys("b", "s", world.signer.active), 10)
    assert [*BINS.roles(), "snapshot"] == [state.role for state in others]
    assert 2 == len(await world.records.signed_by_others(OnlineKeys("b", "s", "t"), 2))
    await repository.publish(Change(), {"bins-3"})
    files = set(files_of(world))
    world.signer.activate(CryptoSigner.generate_ecdsa())
    await repository.publish(Change(), await repository.due(1))
    assert {"2.bins-0.json", "3.snapshot.json"} == set(files_of(world)) - files


async def test_what_was_begun_with_one_key_is_finished_with_it(world: PublishingWorld, publisher: Publisher) -> None:
    """Files with its signatures may be in the store, and no version has two contents."""
    await publisher.close()
    old = world.signer.active
    await prepared(world)
    world.signer.activate(CryptoSigner.generate_ecdsa())
    repository = await world.repository()
    await repository.finish()
    assert {old} == set((await signed_with(world)).values())
    assert 2 == (await published_versions(world.store))["bins-0"]


async def test_a_key_that_may_not_sign_any_more_leaves_its_versions_behind(
    world: PublishingWorld, publisher: Publisher
) -> None:
    """Some of its files are in the store already; what replaces them has other versions."""
    await publisher.close()
    old = world.signer.active
    repository = await world.repository()
    store = files_of(world)
    add, calls = world.store.add, 0

    async def add_once(files: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise UnavailableError("The disk is full.", reason=Reason.STORE_UNAVAILABLE)
        await add(files)

    world.store.add = add_once  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        await repository.publish(Change({IN_BIN_0: target(IN_BIN_0)}))
    world.store.add = add  # type: ignore[method-assign]
    left_behind = store["2.bins-0.json"]
    world.signer.activate(CryptoSigner.generate_ecdsa())
    del world.signer.signers[old]
    await repository.finish()
    versions = await published_versions(world.store)
    assert (3, 3) == (versions["bins-0"], versions["snapshot"])
    assert left_behind == store["2.bins-0.json"]
    assert world.signer.active == (await signed_with(world))["bins-0"]


async def test_a_refusal_that_no_other_key_gets_round_moves_no_version(
    world: PublishingWorld, publisher: Publisher
) -> None:
    """Each attempt would use up versions, until they are too far above those that were signed."""
    await publisher.close()
    repository = await prepared(world)
    before = await world.records.states()
    world.signer.signers.clear()
    for _ in range(3):
        with pytest.raises(RefusedError) as refused:
            await repository.finish()
        assert Reason.KEY_NOT_HELD == refused.value.reason
    assert before == await world.records.states()


# ---- Files that are not what they were -------------------------------------------------------------------------------
@pytest.mark.parametrize("damage", ["missing", "empty", "changed", "cut", "unsigned"])
async def test_a_damaged_bin_is_published_anew_at_the_start(world: PublishingWorld, damage: str) -> None:
    first = await world.publisher(QUIET)
    await first.start()
    await first.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    await first.close()
    store = files_of(world)
    whole = store["2.bins-0.json"]
    if damage == "missing":
        del store["2.bins-0.json"]
    else:
        store["2.bins-0.json"] = {
            "empty": b"",
            "changed": whole.replace(b'"length":7', b'"length":8'),
            "cut": whole[: len(whole) // 2],
            "unsigned": b'{"signatures":[]' + whole[whole.index(b',"signed":') :],
        }[damage]
    second = await world.publisher(QUIET)
    await second.start()
    await second.close()
    assert 3 == (await published_versions(world.store))["bins-0"]
    assert Metadata.from_bytes(store["3.bins-0.json"]).signed.targets.keys() == {IN_BIN_0}
    assert {"1.bins-1.json"} == {name for name in store if "bins-1" in name}


async def test_a_file_that_goes_away_while_it_is_looked_for_counts_as_missing(world: PublishingWorld) -> None:
    first = await world.publisher(QUIET)
    await first.start()
    await first.close()

    async def none(files: Any) -> list[Any]:
        return []

    world.store.absent = none  # type: ignore[method-assign]
    del files_of(world)["1.bins-2.json"]
    repository = await world.repository()
    await repository.mend(sample=100)
    assert 2 == (await published_versions(world.store))["bins-2"]
    await repository.mend(sample=0)
    assert 2 == (await published_versions(world.store))["timestamp"]


async def test_health_returns_only_after_a_write(
    world: PublishingWorld, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full can still be read."""
    tried = asyncio.Event()

    async def full(*_: object) -> Any:
        tried.set()
        raise UnavailableError("The disk is full.", reason=Reason.DATABASE_UNAVAILABLE)

    with monkeypatch.context() as broken:
        broken.setattr(world.records, "prepare", full)
        broken.setattr(world.records, "prove_writable", full)
        with pytest.raises(UnavailableError):
            await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
        for _ in range(2):
            tried.clear()
            await tried.wait()
            assert publisher.problem is not None

    async def recovered() -> bool:
        return publisher.problem is None

    await until(recovered)


# ---- Offline metadata between two publications -----------------------------------------------------------------------
def intake_of(world: PublishingWorld) -> Intake:
    content = files_of(world)["1.bins.json"].replace(b'"version":1', b'"version":2')
    return Intake((VersionedFile("bins", 2, content.replace(b'"version": 1', b'"version": 2')),), False, "security")


async def test_offline_metadata_is_taken_in_between_two_publications(
    world: PublishingWorld, publisher: Publisher
) -> None:
    async def decide(repository: Repository) -> Intake:
        return intake_of(world)

    taken, changed = await asyncio.gather(
        publisher.take_in(decide), publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)
    )
    assert taken is not None
    assert 2 == (await published_versions(world.store))["bins"]
    assert {taken.timestamp_version + 1} == {changed.timestamp_version}


async def test_a_decision_against_it_changes_nothing(world: PublishingWorld, publisher: Publisher) -> None:
    before = dict(files_of(world))

    async def refuse(repository: Repository) -> Intake:
        raise RefusedError("No.", reason=Reason.KEY_STILL_NEEDED)

    async def nothing(repository: Repository) -> None:
        return None

    with pytest.raises(RefusedError):
        await publisher.take_in(refuse)
    assert (None, None) == (await publisher.take_in(nothing), publisher.problem)
    assert before == files_of(world)


async def test_an_error_in_the_decision_that_nobody_foresaw_is_told(
    world: PublishingWorld, publisher: Publisher
) -> None:
    async def break_down(repository: Repository) -> Intake:
        raise ZeroDivisionError

    with pytest.raises(CorruptStateError) as told:
        await publisher.take_in(break_down)
    assert Reason.INTERNAL == told.value.details["cause"]
    await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)


async def test_whoever_goes_away_withdraws_what_had_not_begun(world: PublishingWorld) -> None:
    publisher = await world.publisher(QUIET)
    asked: list[str] = []

    async def decide(repository: Repository) -> None:
        asked.append("asked")

    gone = asyncio.create_task(publisher.take_in(decide))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await publisher.start()
    await publisher.take_in(decide)
    assert ["asked"] == asked
    await publisher.close()


async def test_whoever_goes_away_later_does_not_stop_it(world: PublishingWorld, publisher: Publisher) -> None:
    begun, going_on = asyncio.Event(), asyncio.Event()

    async def decide(repository: Repository) -> Intake:
        begun.set()
        await going_on.wait()
        return intake_of(world)

    gone = asyncio.create_task(publisher.take_in(decide))
    await begun.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    going_on.set()

    async def published() -> bool:
        return (await published_versions(world.store))["bins"] == 2

    await until(published)


async def test_whoever_goes_away_from_a_decision_that_is_refused_is_not_missed(
    world: PublishingWorld, publisher: Publisher
) -> None:
    begun, going_on = asyncio.Event(), asyncio.Event()

    async def decide(repository: Repository) -> Intake:
        begun.set()
        await going_on.wait()
        raise RefusedError("No.", reason=Reason.KEY_STILL_NEEDED)

    gone = asyncio.create_task(publisher.take_in(decide))
    await begun.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    going_on.set()
    await publisher.publish([target(IN_BIN_0)], [], timeout_seconds=10)


async def test_a_publisher_that_closes_answers_whoever_brings_metadata(world: PublishingWorld) -> None:
    publisher = await world.publisher(QUIET)

    async def decide(repository: Repository) -> None:
        """Never asked."""

    waiting = asyncio.create_task(publisher.take_in(decide))
    await asyncio.sleep(0)
    await publisher.close()
    with pytest.raises(UnavailableError) as refused:
        await waiting
    assert Reason.DRAINING == refused.value.reason


async def test_what_was_staged_is_finished_by_the_next_start(world: PublishingWorld) -> None:
    first = await world.publisher(QUIET)
    await first.start()
    await first.close()
    await world.store.stage(intake_of(world).encode())
    second = await world.publisher(QUIET)
    await second.start()
    assert 2 == (await published_versions(world.store))["bins"]
    assert await world.store.staged() is None
    await second.close()


async def test_what_was_prepared_before_offline_metadata_changed_becomes_part_of_it(world: PublishingWorld) -> None:
    """Its snapshot names the former metadata, which may not be signed any more."""
    first = await world.publisher(QUIET)
    await first.start()
    await first.close()
    await prepared(world, IN_BIN_1)
    await world.store.stage(intake_of(world).encode())
    second = await world.publisher(QUIET)
    await second.start()
    versions = await published_versions(world.store)
    assert (2, 3, 3) == (versions["bins"], versions["bins-1"], versions["snapshot"])
    await second.close()
