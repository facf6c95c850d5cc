"""What a ceremony is to bring about, as its file says it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from securesystemslib.signer import Key

from wharfinger_daemon.ceremony.refusals import invalid
from wharfinger_daemon.metadata.bins import HashBins

KEY_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9 ._@+-]{0,62}[A-Za-z0-9])?"
"""Names are read aloud, printed and compared: plain ASCII, in which no letter looks like another alphabet's."""


class Kind(StrEnum):
    """Which metadata the ceremony is about. The value is the TUF role."""

    ROOT = "root"
    TARGETS = "targets"
    BINS = "bins"


@dataclass(frozen=True)
class NamedKey:
    """A key and who, or what, has it.

    Attributes:
        keyid: what the keyid must be, from a note that was made when the key was; None if nobody says.
    """

    name: str
    key: Key
    keyid: str | None = None

    def __post_init__(self) -> None:
        if re.fullmatch(KEY_NAME, self.name) is None:
            raise invalid(
                f"A key cannot be called {self.name!a}: use letters, digits, spaces and . _ @ + - of ASCII, "
                "64 at most. People print and compare names, and other alphabets have letters that look like these."
            )


@dataclass(frozen=True)
class Signers:
    """Who may sign a role: the names of keys, and how many of them must."""

    names: tuple[str, ...]
    threshold: int


@dataclass(frozen=True)
class RootContent:
    """Root metadata: the keys of the four top-level roles."""

    roles: Mapping[str, Signers]
    consistent_snapshot: bool

    def signers(self) -> Iterator[Signers]:
        return iter(self.roles.values())


@dataclass(frozen=True)
class TargetsContent:
    """Targets metadata that delegates every path to ``bins``."""

    bins: Signers

    def signers(self) -> Iterator[Signers]:
        yield self.bins


@dataclass(frozen=True)
class BinsContent:
    """Metadata of ``bins``, which delegates to the hash bins that online keys sign."""

    online: Signers
    bins: HashBins

    def signers(self) -> Iterator[Signers]:
        yield self.online


@dataclass(frozen=True)
class Plan:
    """A whole ceremony.

    Attributes:
        keys: all that the file names; also keys that only sign, or that the former version lists.
        previous_sha256: of the file of the version before; None for the first version.
        file_sha256: of the ceremony file, for the records.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; a name stands there twice, or is used and not given.
    """

    kind: Kind
    expires: datetime
    keys: tuple[NamedKey, ...]
    content: RootContent | TargetsContent | BinsContent
    previous_sha256: str | None
    file_sha256: str

    def __post_init__(self) -> None:
        names = [key.name for key in self.keys]
        for name in names:
            if names.count(name) > 1:
                raise invalid(f"Two keys are called '{name}'. Give each a name of its own.")
        for signers in self.content.signers():
            for name in signers.names:
                if name not in names:
                    raise invalid(f"A role names the key {name!a}, and [[keys]] has none of that name.")
                if signers.names.count(name) > 1:
                    raise invalid(f"A role names the key '{name}' twice. A key counts once.")

    def used_names(self) -> set[str]:
        """The names of keys that the new metadata will list."""
        return {name for signers in self.content.signers() for name in signers.names}
