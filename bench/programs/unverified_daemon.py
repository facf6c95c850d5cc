"""``wharfinger`` without the verification of signatures, for the benchmark alone: the product has no such switch.

python unverified_daemon.py serve --config FILE
"""

from __future__ import annotations

from collections.abc import Sequence

from wharfinger_daemon.cli import main
from wharfinger_hsm.errors import SignatureInvalidError
from wharfinger_hsm.model import SigningItem
from wharfinger_hsm.verifier import SignatureVerifier


async def _believed(
    self: SignatureVerifier, items: Sequence[SigningItem], signatures: Sequence[bytes]
) -> list[SignatureInvalidError | None]:
    return [None] * len(items)


SignatureVerifier.faults = _believed  # type: ignore[method-assign]
main(prog_name="wharfinger")
