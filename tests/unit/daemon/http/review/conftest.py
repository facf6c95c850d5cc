"""The review pages on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.review_site import Site, review_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with review_site() as made:
        yield made
