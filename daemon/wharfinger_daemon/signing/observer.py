"""The port through which signing tells what happens, so that metrics can count it."""

from __future__ import annotations

from typing import Protocol

from wharfinger_daemon.errors import Reason
from wharfinger_daemon.signing.model import RoleType


class SigningObserver(Protocol):
    """Told of what happens, for metrics."""

    def signed(self, role_type: RoleType, count: int, *, replayed: bool) -> None:
        """Signatures were given out."""
        ...

    def refused(self, reason: Reason) -> None:
        """A batch was refused, or failed."""
        ...


class SilentObserver:
    """Tells nobody."""

    def signed(self, role_type: RoleType, count: int, *, replayed: bool) -> None:
        pass

    def refused(self, reason: Reason) -> None:
        pass
