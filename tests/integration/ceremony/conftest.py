"""A rehearsal for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.ceremony.rehearsal import Rehearsal


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path)
