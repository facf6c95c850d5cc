"""What holds for all tests: which of them one worker of pytest-xdist runs, one after another."""

from __future__ import annotations

from pathlib import Path

import pytest

# A PKCS#11 module is loaded once in a process; the tests of modules that wrap one another keep their order.
_OF_ONE_TOKEN = ("contract/hsm", "contract/hsm_modules", "integration/hsm", "unit/hsm")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xdist_group: also where pytest-xdist is switched off")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file is run by one worker: what its module's fixtures start, they start once."""
    here = Path(__file__).parent
    for item in items:
        file = item.path.relative_to(here)
        group = "hsm" if str(file.parent) in _OF_ONE_TOKEN else str(file)
        item.add_marker(pytest.mark.xdist_group(group))
