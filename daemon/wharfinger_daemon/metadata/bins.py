"""Hash bins: which role lists a path (TAP 15; in PEP 458 these roles are called *bin-n*)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from wharfinger_daemon.errors import Reason, StartupError

# python-tuf's and tuf-js's clients refuse a snapshot of more than 2,000,000 bytes by default. One that names 65,536
# bins has more at version 1 of each already; 32,768 fit whatever their versions.
MAX_BIT_LENGTH = 15

_PREFIX = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class HashBins:
    """2 to the power of ``bit_length`` bins, named ``PREFIX-`` and their index in hexadecimal, padded with zeros.

    A path belongs to the bin whose index is the first ``bit_length`` bits of the SHA-256 of its UTF-8 bytes.

    Raises:
        StartupError: CONFIGURATION_INVALID; there must be 2 to 32,768 bins, as a power of two, because python-tuf's and
            tuf-js's clients refuse a snapshot that names more.
    """

    bit_length: int
    prefix: str = "bins"

    def __post_init__(self) -> None:
        if not 1 <= self.bit_length <= MAX_BIT_LENGTH:
            raise _invalid(f"2^{self.bit_length}")
        if not _PREFIX.fullmatch(self.prefix):
            raise StartupError(
                f"Bins cannot be called '{self.prefix}-…': use lower-case letters and digits.",
                reason=Reason.CONFIGURATION_INVALID,
            )

    @classmethod
    def of_number(cls, number: int) -> HashBins:
        """That many bins.

        Raises:
            StartupError: as from the constructor, or the number is no power of two.
        """
        if number < 1 or number & (number - 1):
            raise _invalid(str(number))
        return cls(number.bit_length() - 1)

    @property
    def number(self) -> int:
        """How many bins there are."""
        return 1 << self.bit_length

    def role_for(self, path: str) -> str:
        """The bin that lists a path, whether it is there or not."""
        leading = int.from_bytes(hashlib.sha256(path.encode("utf-8")).digest()[:4], "big")
        return self._name(leading >> (32 - self.bit_length))

    def roles(self) -> Iterator[str]:
        """All bins, in the order of their index."""
        return map(self._name, range(self.number))

    def _name(self, index: int) -> str:
        width = (self.bit_length + 3) // 4
        return f"{self.prefix}-{index:0{width}x}"


def _invalid(number: str) -> StartupError:
    return StartupError(
        f"There cannot be {number} bins. Choose a power of two from 2 to {1 << MAX_BIT_LENGTH}.",
        reason=Reason.CONFIGURATION_INVALID,
    )
