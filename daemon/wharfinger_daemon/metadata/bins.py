"""Hash bins: which role lists a path (TAP 15; in PEP 458 these roles are called *bin-n*)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wharfinger_daemon.bin_delegation import BinDelegation, DelegationForm
from wharfinger_daemon.errors import Reason, StartupError

# python-tuf's and tuf-js's clients refuse a snapshot of more than 2,000,000 bytes by default. One that names 65,536
# bins has more at version 1 of each already; 32,768 fit whatever their versions.
MAX_BIT_LENGTH = 15
# The same clients refuse targets metadata of more than 5,000,000 bytes, and a role for each of 32,768 bins has more.
_MAX_BIT_LENGTH_BY_PREFIXES = 14

_PREFIX = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class HashBins:
    """2 to the power of ``bit_length`` bins, named ``PREFIX-`` and their index in hexadecimal, padded with zeros.

    A path belongs to the bin whose index is the first ``bit_length`` bits of the SHA-256 of its UTF-8 bytes.

    Attributes:
        form: how the offline metadata delegates to them.

    Raises:
        StartupError: CONFIGURATION_INVALID; there must be 2 to 32,768 bins, as a power of two, because python-tuf's and
            tuf-js's clients refuse a snapshot that names more; with ``path_hash_prefixes`` at most 16,384, because
            they refuse the metadata that would delegate to more.
    """

    bit_length: int
    prefix: str = "bins"
    form: DelegationForm = DelegationForm.SUCCINCT

    def __post_init__(self) -> None:
        succinct = self.form is DelegationForm.SUCCINCT
        longest = MAX_BIT_LENGTH if succinct else _MAX_BIT_LENGTH_BY_PREFIXES
        if not 1 <= self.bit_length <= longest:
            raise _invalid(f"2^{self.bit_length}", longest)
        if not _PREFIX.fullmatch(self.prefix):
            raise StartupError(
                f"Bins cannot be called '{self.prefix}-…': use lower-case letters and digits.",
                reason=Reason.CONFIGURATION_INVALID,
            )

    @classmethod
    def of_number(cls, number: int, form: DelegationForm = DelegationForm.SUCCINCT) -> HashBins:
        """That many bins.

        Raises:
            StartupError: as from the constructor, or the number is no power of two.
        """
        if number < 1 or number & (number - 1):
            raise _invalid(str(number))
        return cls(number.bit_length() - 1, form=form)

    @classmethod
    def delegated(cls, delegation: BinDelegation) -> HashBins:
        """The bins that a delegation leads to.

        Raises:
            StartupError: as from the constructor.
        """
        return cls(delegation.bit_length, delegation.prefix, delegation.form)

    def delegation(self, keyids: Iterable[str], threshold: int) -> BinDelegation:
        """What delegates to these bins, each signed by so many of these keys."""
        return BinDelegation(self.form, self.bit_length, self.prefix, tuple(keyids), threshold)

    @property
    def number(self) -> int:
        """How many bins there are."""
        return 1 << self.bit_length

    def grows_from(self, former: HashBins) -> bool:
        """Whether these are the former bins and more: under the old names and new ones of the same length, because
        clients refuse a snapshot that lost a role."""
        alike = (self.prefix, self.form, self._width) == (former.prefix, former.form, former._width)
        return alike and self.bit_length > former.bit_length

    def role_for(self, path: str) -> str:
        """The bin that lists a path, whether it is there or not."""
        leading = int.from_bytes(hashlib.sha256(path.encode("utf-8")).digest()[:4], "big")
        return self._name(leading >> (32 - self.bit_length))

    def roles(self) -> Iterator[str]:
        """All bins, in the order of their index."""
        return map(self._name, range(self.number))

    def _name(self, index: int) -> str:
        return f"{self.prefix}-{index:0{self._width}x}"

    @property
    def _width(self) -> int:
        """How many hexadecimal digits an index has."""
        return (self.bit_length + 3) // 4


def _invalid(number: str, longest: int = MAX_BIT_LENGTH) -> StartupError:
    return StartupError(
        f"There cannot be {number} bins. Choose a power of two from 2 to {1 << longest}.",
        reason=Reason.CONFIGURATION_INVALID,
    )
