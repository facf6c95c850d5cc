"""A repository in memory, but for its rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.publishing import PublishingWorld, make_world
from wharfinger_daemon.metadata.publisher import Publisher


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PublishingWorld]:
    made = await make_world(tmp_path / "world", in_memory=True)
    yield made
    made.close()


@pytest.fixture
async def publisher(world: PublishingWorld) -> AsyncIterator[Publisher]:
    """A publisher that runs."""
    started = await world.publisher()
    await started.start()
    yield started
    await started.close()
