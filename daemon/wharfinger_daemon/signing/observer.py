"""The port through which signing tells what happens, so that it can be counted and logged."""

from __future__ import annotations

from typing import Protocol

from wharfinger_daemon.signing.model import RoleType
from wharfinger_daemon.signing.refusals import Refusal


class SigningObserver(Protocol):
    """Told of what happens, for metrics and the log."""

    def signed(self, role_type: RoleType, count: int, *, replayed: bool) -> None:
        """Signatures were given out."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """A batch was refused, or failed."""
        ...


class SilentObserver:
    """Tells nobody."""

    def signed(self, role_type: RoleType, count: int, *, replayed: bool) -> None:
        pass

    def refused(self, refusal: Refusal) -> None:
        pass
