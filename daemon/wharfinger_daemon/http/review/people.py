"""Who uses the review pages, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do. Each role may do all that the ones before it may."""

    VIEWER = "viewer"
    MODERATOR = "moderator"
    SECURITY = "security"

    def includes(self, other: Role) -> bool:
        """Whether it may do what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class Person:
    """Somebody who signed in.

    Attributes:
        name: as the audit log has it: who vouches for the person, and what they call them, such as
            ``https://id.example.com#248289761001``. Nobody can choose another's.
        shown: how pages call the person; chosen by themselves, so it decides nothing.
    """

    name: str
    shown: str
    role: Role
