"""One archive for each trick of hiding: what is in it is examined, or the scan says that it is not complete."""

from __future__ import annotations

import pytest

from tests.support.hostile_archives import PAYLOAD, TRICKS
from tests.unit.daemon.scanning.archives.conftest import opened


@pytest.mark.parametrize("name", TRICKS)
def test_what_a_trick_hides_is_examined_or_said_to_be_unread(name: str) -> None:
    """And where readers would differ, an anomaly tells of it; what is in order is no anomaly."""
    trick = TRICKS[name]
    found = opened(trick.make(), "p-1.tar.gz")
    assert trick.shown == any(PAYLOAD in content for content in found.contents.values())
    assert trick.shown or found.unread
    assert trick.rules == trick.rules & set(found.rules)
    assert trick.rules or not trick.shown or not set(found.rules) - {"not-an-archive"}
