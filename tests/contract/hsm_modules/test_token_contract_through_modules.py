"""The token contract, once more: through the fault module, and through p11-kit's client and server."""

from tests.contract.hsm.test_token_contract import *  # noqa: F403 - its tests and its fixtures
