"""How much of an artifact is read at most, and the account that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True)
class ArchiveLimits:
    """What opening one artifact may cost. Nested archives spend from the same account.

    Attributes:
        total_bytes: unpacked bytes of all members together.
        member_bytes: unpacked bytes of one member; this is also what is held in memory for each level of nesting.
        members: number of members of all archives together.
        ratio: unpacked bytes for each byte of the artifact, from ``ratio_floor_bytes`` on.
        nesting_depth: levels of archives inside the outermost one; 0 opens none.
        ratio_floor_bytes: unpacked bytes below which no ratio is an alarm.
    """

    total_bytes: int = 2048 * _MIB
    member_bytes: int = 128 * _MIB
    members: int = 100_000
    ratio: int = 100
    nesting_depth: int = 3
    ratio_floor_bytes: int = 64 * _MIB


class LimitReached(Exception):  # noqa: N818 - says what the content did, not what went wrong with us
    """Reading on would cost more than the limits allow.

    Attributes:
        rule: the anomaly that it is.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Budget:
    """The account of one artifact.

    >>> budget = Budget(ArchiveLimits(total_bytes=10), artifact_bytes=5)
    >>> budget.spend(10)
    >>> budget.spend(1)
    Traceback (most recent call last):
        ...
    wharfinger_daemon.scanning.archives.limits.LimitReached: The members unpack to more than 10 bytes.
    """

    def __init__(self, limits: ArchiveLimits, artifact_bytes: int) -> None:
        self._limits = limits
        self._artifact_bytes = max(artifact_bytes, 1)
        self._spent = 0
        self._members = 0

    def spend(self, count: int) -> None:
        """Accounts for unpacked bytes, after they were unpacked: unpack little at a time.

        Raises:
            LimitReached: ``expansion-bomb``.
        """
        self._spent += count
        if self._spent > self._limits.total_bytes:
            raise LimitReached("expansion-bomb", f"The members unpack to more than {self._limits.total_bytes} bytes.")
        if self._spent > max(self._limits.ratio_floor_bytes, self._limits.ratio * self._artifact_bytes):
            raise LimitReached(
                "expansion-bomb", f"The members unpack to more than {self._limits.ratio} times the size."
            )

    def admit(self) -> None:
        """Accounts for one member.

        Raises:
            LimitReached: ``too-many-members``.
        """
        if self._members >= self._limits.members:
            raise LimitReached("too-many-members", f"There are more than {self._limits.members} members.")
        self._members += 1
