"""A supervisor with one key behind the fault module, as tests use it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.support.fault_module.faults import FaultModule
from wharfinger_hsm.errors import HsmError
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.model import Digest, SigningItem, TokenKey
from wharfinger_hsm.supervisor import HsmSupervisor
from wharfinger_hsm.verification import verify

# Quick to recover; and a worker that is merely slow on a busy machine is not killed.
LIMITS = SupervisorLimits(allowance=5.0, allowance_per_item=0.0, first_backoff=0.02, longest_backoff=0.1, keys=20.0)


@dataclass(frozen=True)
class Signer:
    """`patience` is how long a signature may take, in seconds."""

    supervisor: HsmSupervisor
    key: TokenKey
    faults: FaultModule
    patience: float = LIMITS.allowance

    def item(self, number: int = 0) -> SigningItem:
        return SigningItem(self.key.public_key, Digest(number.to_bytes(32, "big")))

    async def sign(self, number: int = 0) -> None:
        """Signs, and verifies what comes. Raises `HsmError`."""
        (signature,) = await self.supervisor.sign([self.item(number)], timeout_seconds=self.patience)
        verify(self.item(number), signature)

    async def recover(self) -> None:
        """Repeats, as a caller may, until a signature comes."""
        deadline = time.monotonic() + 30
        while True:
            try:
                await self.sign()
            except HsmError as error:
                assert time.monotonic() < deadline, f"It never recovered: {error}"
                await asyncio.sleep(0.01)
            else:
                return


StartSigner = Callable[..., Awaitable[Signer]]
