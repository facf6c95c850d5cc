"""The tokens that must all keep the same contract."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.pkcs11_token import Pkcs11Token
from wharfinger_hsm.softhsm import SoftHsmToken, create_token
from wharfinger_hsm.token import Token

PIN = "contract-1234"
UNUSED = Path("/nonexistent/pin")
"""Only workers read PIN files."""


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsmToken]:
    """A SoftHSM token in this process, which reads SOFTHSM2_CONF each time that the module is initialised."""
    created = create_token(tmp_path_factory.mktemp("softhsm"), "contract", PIN, "officer-5678")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ.update(created.environment)
    yield created
    del os.environ["SOFTHSM2_CONF"]
    if before is not None:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture(params=["memory", "softhsm"])
def token(request: pytest.FixtureRequest) -> Iterator[Token]:
    """One token of each kind. The SoftHSM one keeps its keys from test to test: use labels of your own."""
    opened: Token
    if request.param == "memory":
        opened = MemoryToken()
    else:
        softhsm: SoftHsmToken = request.getfixturevalue("softhsm")
        opened = Pkcs11Token.open(softhsm.settings(UNUSED), PIN)
    yield opened
    opened.close()


@pytest.fixture
def open_softhsm(softhsm: SoftHsmToken) -> Iterator[Callable[[], Pkcs11Token]]:
    """Opens the SoftHSM token anew, closing the one that was open: a process has one at a time."""
    opened: list[Pkcs11Token] = []

    def open_again() -> Pkcs11Token:
        while opened:
            opened.pop().close()
        opened.append(Pkcs11Token.open(softhsm.settings(UNUSED), PIN))
        return opened[-1]

    yield open_again
    while opened:
        opened.pop().close()


@pytest.fixture
def token_directory(softhsm: SoftHsmToken) -> Path:
    return softhsm.configuration.parent / "tokens"
