"""The publisher signs through the signing service: its rules hold for it too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.publishing import PublishingWorld, make_world, target
from tests.support.publishing_process import NAME, signing_of
from wharfinger_daemon.custody.publication_signer import PublicationSigner
from wharfinger_daemon.errors import CorruptStateError, InvalidRequestError, Reason, RefusedError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState, bin_document, snapshot_document, timestamp_document
from wharfinger_daemon.metadata.planning import ClaimedVersions, OnlineKeys

BINS = HashBins(2)
PATH = next(f"file-{n}" for n in range(100) if BINS.role_for(f"file-{n}") == "bins-0")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PublishingWorld]:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "online.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    online = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    made = await make_world(tmp_path / "world", instant=datetime(2030, 1, 1, tzinfo=UTC), online_public_key=online)
    yield made
    made.close()


@pytest.fixture
async def signer(world: PublishingWorld) -> PublicationSigner:
    return PublicationSigner(await signing_of(world.folder, world.store, world.database, world.clock), NAME)


async def test_publishing_through_the_signing_service(world: PublishingWorld, signer: PublicationSigner) -> None:
    publisher = await world.publisher(signer=signer)
    await publisher.start()
    result = await publisher.publish([target(PATH)], [], timeout_seconds=30)
    assert (2, 2, {"bins-0": 2}) == (result.timestamp_version, result.snapshot_version, result.bin_versions)
    await publisher.close()


async def test_the_same_document_has_the_same_signature_again(
    world: PublishingWorld, signer: PublicationSigner
) -> None:
    document = bin_document(RoleState("bins-0", 1, world.clock.now() + timedelta(hours=1)), [target(PATH)])
    assert await signer.sign([document]) == await signer.sign([document])


async def test_every_online_role_is_signed_with_the_key_that_the_metadata_lists(
    world: PublishingWorld, signer: PublicationSigner
) -> None:
    document = bin_document(RoleState("bins-0", 1, world.clock.now() + timedelta(hours=1)), [target(PATH)])
    [signature] = await signer.sign([document])
    assert OnlineKeys(*3 * [signature.keyid]) == await signer.keys("bins-0")
    named = replace(document, state=replace(document.state, keyid=signature.keyid))
    assert [signature] == await signer.sign([named])
    with pytest.raises(RefusedError) as refused:
        await signer.sign([replace(document, state=replace(document.state, keyid="0" * 64))])
    assert Reason.KEY_UNKNOWN == refused.value.reason


async def test_versions_that_were_signed_and_named_are_claimed(
    world: PublishingWorld, signer: PublicationSigner
) -> None:
    expires = world.clock.now() + timedelta(hours=1)
    await signer.sign([snapshot_document(RoleState("snapshot", 1, expires), {"targets": 1, "bins-0": 2})])
    claimed = await signer.claimed()
    assert (ClaimedVersions(signed=1), ClaimedVersions(named=2)) == (claimed["snapshot"], claimed["bins-0"])


async def test_another_document_of_the_same_version_is_refused(
    world: PublishingWorld, signer: PublicationSigner
) -> None:
    state = RoleState("bins-0", 1, world.clock.now() + timedelta(hours=1))
    await signer.sign([bin_document(state, [target(PATH)])])
    with pytest.raises(RefusedError) as refused:
        await signer.sign([bin_document(state, [])])
    assert Reason.VERSION_EQUIVOCATION == refused.value.reason


async def test_a_snapshot_that_would_roll_back_is_refused(world: PublishingWorld, signer: PublicationSigner) -> None:
    expires = world.clock.now() + timedelta(hours=1)
    await signer.sign([snapshot_document(RoleState("snapshot", 1, expires), {"targets": 1, "bins-0": 2})])
    with pytest.raises(RefusedError) as refused:
        await signer.sign([snapshot_document(RoleState("snapshot", 2, expires), {"targets": 1, "bins-0": 1})])
    assert Reason.META_ROLLBACK == refused.value.reason


async def test_a_timestamp_beyond_the_ceiling_is_refused(world: PublishingWorld, signer: PublicationSigner) -> None:
    state = RoleState("timestamp", 1, world.clock.now() + timedelta(days=10))
    with pytest.raises(InvalidRequestError) as refused:
        await signer.sign([timestamp_document(state, 1, b"snapshot")])
    assert Reason.EXPIRY_BEYOND_CEILING == refused.value.reason


async def test_a_bin_with_a_path_of_another_bin_is_refused(world: PublishingWorld, signer: PublicationSigner) -> None:
    state = RoleState("bins-1", 1, world.clock.now() + timedelta(hours=1))
    with pytest.raises(InvalidRequestError) as refused:
        await signer.sign([bin_document(state, [target(PATH)])])
    assert Reason.TARGET_OUTSIDE_BIN == refused.value.reason


async def test_a_document_that_says_something_else_than_its_facts_is_refused(
    world: PublishingWorld, signer: PublicationSigner
) -> None:
    expires = world.clock.now() + timedelta(hours=1)
    document = bin_document(RoleState("bins-0", 1, expires), [])
    with pytest.raises(CorruptStateError) as refused:
        await signer.sign([replace(document, state=RoleState("bins-0", 2, expires))])
    assert Reason.FACTS_MISMATCH == refused.value.reason
