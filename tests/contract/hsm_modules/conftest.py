"""SoftHSM behind two other modules: what keeps the contract directly must keep it through them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.fault_module.faults import FaultModule, build
from tests.support.fault_module.p11_kit_server import P11KitServer
from wharfinger_hsm.errors import UnsupportedItemError
from wharfinger_hsm.model import KeyAlgorithm, TokenKey, TokenSettings
from wharfinger_hsm.pkcs11_token import Pkcs11Token
from wharfinger_hsm.softhsm import SoftHsmToken, create_token
from wharfinger_hsm.token import Token

PIN = "contract-1234"
UNUSED = Path("/nonexistent/pin")
"""Only workers read PIN files."""

OpenToken = Callable[[], Pkcs11Token]


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsmToken:
    return create_token(tmp_path_factory.mktemp("softhsm"), "contract", PIN, "officer-5678")


@pytest.fixture(scope="session")
def fault_module(softhsm: SoftHsmToken, tmp_path_factory: pytest.TempPathFactory) -> FaultModule:
    directory = tmp_path_factory.mktemp("fault-module")
    return FaultModule(build(directory), directory / "faults", softhsm.module)


@pytest.fixture(scope="session")
def behind_the_fault_module(softhsm: SoftHsmToken, fault_module: FaultModule) -> TokenSettings:
    """A module without any plan: it must be invisible."""
    return fault_module.in_front_of(softhsm.settings(UNUSED))


@pytest.fixture(scope="session")
def behind_p11_kit(softhsm: SoftHsmToken) -> Iterator[TokenSettings]:
    with TemporaryDirectory() as short:  # A socket's path has 107 bytes at most.
        server = P11KitServer(Path(short), softhsm.module, softhsm.environment)
        server.start()
        yield server.in_front_of(softhsm.settings(UNUSED))
        server.kill()


class ThroughModules(Pkcs11Token):
    """A token that need not know Ed25519: p11-kit 0.24 carries no mechanism of Edwards curves."""

    def generate(self, algorithm: KeyAlgorithm, label: str) -> TokenKey:
        try:
            return super().generate(algorithm, label)
        except UnsupportedItemError as error:
            if algorithm is KeyAlgorithm.ED25519 and "MechanismInvalid" in str(error):
                pytest.skip(f"{self._settings.module.name} does not know Ed25519.")
            raise


@pytest.fixture
def open_faulty(behind_the_fault_module: TokenSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenToken]:
    """Opens the token behind the fault module, in this process."""
    for name, value in behind_the_fault_module.environment.items():
        monkeypatch.setitem(os.environ, name, value)
    opened: list[Pkcs11Token] = []

    def open_one() -> Pkcs11Token:
        opened.append(Pkcs11Token.open(behind_the_fault_module, PIN))
        return opened[-1]

    yield open_one
    for token in opened:
        token.close()


@pytest.fixture(params=["behind_the_fault_module", "behind_p11_kit"])
def token(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    """The same SoftHSM token each time, keys and all: use labels of your own."""
    settings: TokenSettings = request.getfixturevalue(request.param)
    for name, value in settings.environment.items():
        monkeypatch.setitem(os.environ, name, value)
    opened = ThroughModules.open(settings, PIN)
    yield opened
    opened.close()
