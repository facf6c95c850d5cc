"""A repository for each test, made once: making keys takes time."""

from __future__ import annotations

import copy

import pytest

from tests.unit.daemon.ceremony.family import Family, first_family

_FAMILY = first_family()


@pytest.fixture
def family() -> Family:
    """After the ceremonies of the first root, targets and bins."""
    own = copy.copy(_FAMILY)
    own.signers, own.files = dict(_FAMILY.signers), dict(_FAMILY.files)
    return own
