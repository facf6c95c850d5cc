"""A repository for clients that do not know TAP 15: a role for each bin, and python-tuf's client as the judge."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from tests.integration.metadata.conftest import NewClient
from tests.support.publishing import PublishingWorld, make_world, target
from wharfinger_daemon.bin_delegation import DelegationForm
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.signing.model import RoleType
from wharfinger_daemon.signing.trust import load_trusted_repository

BINS = HashBins(5, form=DelegationForm.PATH_HASH_PREFIXES)
PATHS = [f"packages/{number:02x}/sample-1.{number}.tar.gz" for number in range(40)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PublishingWorld]:
    """In place of the one with succinct bins."""
    made = await make_world(tmp_path / "world", bins=BINS)
    yield made
    made.close()


async def test_client_finds_targets_in_bins_that_are_delegated_to_by_prefixes(
    world: PublishingWorld, new_client: NewClient
) -> None:
    publisher = await world.publisher()
    await publisher.start()
    await publisher.publish([target(path) for path in PATHS], [], timeout_seconds=30)
    first = new_client()
    assert PATHS == [path for path in PATHS if first.get_targetinfo(path) is not None]
    assert first.get_targetinfo("packages/absent.tar.gz") is None
    await publisher.publish([], PATHS[:1], timeout_seconds=30)
    await publisher.close()
    assert new_client().get_targetinfo(PATHS[0]) is None
    metadata: Metadata[Targets] = Metadata.from_file(str(world.metadata / "1.bins.json"))
    assert metadata.signed.delegations is not None and metadata.signed.delegations.succinct_roles is None


async def test_signing_knows_all_bins_as_one_authority_and_no_alias_of_any(world: PublishingWorld) -> None:
    pin = hashlib.sha256((world.metadata / "1.root.json").read_bytes()).hexdigest()
    trusted = await load_trusted_repository("pypi", pin, world.store, world.clock)
    patterns = [one.pattern for one in trusted.authorities() if one.role_type is RoleType.BINS]
    assert ["bins-*"] == patterns
    authority = trusted.authority("bins-1f")
    assert authority is trusted.authority("bins-00")
    for path in PATHS:
        assert [BINS.role_for(path)] == [role for role in BINS.roles() if authority.delegates(role, path)]
