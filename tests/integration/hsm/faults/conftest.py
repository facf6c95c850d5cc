"""The fault module in front of a SoftHSM token, and supervisors that reach the token through it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_module.faults import FaultModule, build
from tests.support.fault_module.signer import LIMITS, Signer, StartSigner
from wharfinger_hsm.model import KeyAlgorithm, TokenSettings
from wharfinger_hsm.softhsm import find_module


@pytest.fixture(scope="session")
def fault_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fault-module"))


@pytest.fixture
def faults(fault_module: Path, tmp_path: Path) -> FaultModule:
    return FaultModule(fault_module, tmp_path / "faults", find_module())


@pytest.fixture
def faulty_settings(softhsm: Any, faults: FaultModule) -> TokenSettings:
    return faults.in_front_of(softhsm.settings)


@pytest.fixture
def start_signer(start_supervisor: Any, faults: FaultModule, faulty_settings: TokenSettings) -> StartSigner:
    """Starts a supervisor on the fault module, with the key that the token has, or the first it makes."""

    async def start(**options: Any) -> Signer:
        limits = replace(LIMITS, **options.pop("limits", {}))
        supervisor = await start_supervisor(faulty_settings, limits=limits, **options)
        keys = [key for key in await supervisor.keys() if key.label == "online"]
        key = keys[0] if keys else await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
        return Signer(supervisor, key, faults, limits.allowance)

    return start
