"""What signing checkpoints needs of the log, of the token, and of whoever watches."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from wharfinger_daemon.audit.checkpoint import SignedCheckpoint


class Log(Protocol):
    """The log, as far as checkpoints need it."""

    async def size(self) -> int:
        """The number of leaves."""
        ...

    async def root(self, size: int) -> bytes:
        """The root of the first ``size`` leaves."""
        ...

    async def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof that one tree begins another."""
        ...

    async def checkpoint(self, size: int | None) -> SignedCheckpoint | None:
        """The newest checkpoint, or that of a size."""
        ...

    async def add_checkpoint(self, signed: SignedCheckpoint, at: datetime) -> None:
        """Keeps a checkpoint."""
        ...


class CheckpointSigner(Protocol):
    """Signs with the log's own key."""

    async def sign(self, message: bytes, digest: bytes | None) -> bytes:
        """One signature, verified.

        Raises:
            UnavailableError, OverloadedError: the token does not answer now.
        """
        ...


class LogObserver(Protocol):
    """Told of what is found and signed, for metrics."""

    def looked(self, leaves: int, covered: int) -> None:
        """The log was looked at: it has so many leaves, and the newest checkpoint vouches for the first of them."""
        ...

    def checkpointed(self, size: int, at: datetime) -> None:
        """A checkpoint was signed."""
        ...
