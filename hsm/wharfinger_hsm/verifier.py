"""Signatures, verified in the daemon's process and, where they are many or long, off its event loop.

The worker that made a signature is not asked whether it is right: its memory is a vendor module's to corrupt. The
`cryptography` library releases the GIL while it verifies, so that threads are enough.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from wharfinger_hsm.errors import SignatureInvalidError
from wharfinger_hsm.model import SigningItem
from wharfinger_hsm.verification import verify

_MOST_THREADS = 4
_LEAST_PER_THREAD = 16
"""Handing work to a thread costs about as much as two verifications …"""
_MOST_AT_ONCE = 2
_MOST_BYTES_AT_ONCE = 64 * 1024
"""… so that a lone signature, whose caller waits for it, is verified where it arrives."""


class SignatureVerifier:
    """Threads that verify. `close` it when no call runs any more."""

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or min(_MOST_THREADS, os.cpu_count() or 1)
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="hsm-verifier")

    async def faults(
        self, items: Sequence[SigningItem], signatures: Sequence[bytes]
    ) -> list[SignatureInvalidError | None]:
        """For each item None, or why its signature is wrong. There are as many signatures as items."""
        if len(items) <= _MOST_AT_ONCE and sum(len(item.payload.value) for item in items) <= _MOST_BYTES_AT_ONCE:
            return _faults(items, signatures)
        loop = asyncio.get_running_loop()
        share = max(_LEAST_PER_THREAD, -(-len(items) // self._threads))
        parts = [
            loop.run_in_executor(
                self._executor, _faults, items[start : start + share], signatures[start : start + share]
            )
            for start in range(0, len(items), share)
        ]
        return [fault for part in await asyncio.gather(*parts) for fault in part]

    def close(self) -> None:
        self._executor.shutdown()


def _faults(items: Sequence[SigningItem], signatures: Sequence[bytes]) -> list[SignatureInvalidError | None]:
    return [_fault(item, signature) for item, signature in zip(items, signatures, strict=True)]


def _fault(item: SigningItem, signature: bytes) -> SignatureInvalidError | None:
    try:
        verify(item, signature)
    except SignatureInvalidError as error:
        return error
    return None
