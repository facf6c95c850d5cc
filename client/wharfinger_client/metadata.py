"""The values of metadata."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self

_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class MetadataFile:
    """One metadata file, byte for byte as clients get it.

    Attributes:
        content: the file; empty if ``not_modified``.
        etag: the hexadecimal SHA-256 of the file. Give it as ``if_none_match`` to be spared the content next time.
    """

    content: bytes
    version: int
    etag: str
    not_modified: bool


@dataclass(frozen=True)
class Target:
    """A path with the length and the hashes of its content.

    Attributes:
        path: relative to the base URL of the targets, ASCII, without a hash prefix in the file name.
        length: in bytes.
        hashes: lower-case hexadecimal by algorithm; ``sha256`` or ``sha512`` must be there.
    """

    path: str
    length: int
    hashes: Mapping[str, str]

    @classmethod
    def from_file(
        cls, path: str, file: str | os.PathLike[str] | BinaryIO, *, algorithms: Iterable[str] = ("sha256",)
    ) -> Self:
        """Measures a file, from where a file object stands to its end, which is then where it stands.

        ``algorithms`` are TUF's names: ``sha256``, ``sha512``, ``blake2b-256``.
        """
        if isinstance(file, str | os.PathLike):
            with Path(file).open("rb") as opened:
                return cls._measured(path, opened, algorithms)
        return cls._measured(path, file, algorithms)

    @classmethod
    def _measured(cls, path: str, file: BinaryIO, algorithms: Iterable[str]) -> Self:
        digests = {
            # TUF names BLAKE2b with its digest size, in bits.
            name: hashlib.blake2b(digest_size=32) if name == "blake2b-256" else hashlib.new(name)
            for name in algorithms
        }
        length = 0
        while block := file.read(_BLOCK_BYTES):
            length += len(block)
            for digest in digests.values():
                digest.update(block)
        return cls(path, length, {name: digest.hexdigest() for name, digest in digests.items()})


@dataclass(frozen=True)
class PublishedTarget:
    """What the published metadata says of a target.

    Attributes:
        role: the bin that lists it.
        role_version: the version of that bin.
        expires: when that bin's metadata expires; None if the daemon did not say.
    """

    target: Target
    role: str
    role_version: int
    expires: datetime | None


@dataclass(frozen=True)
class PublicationResult:
    """Where a change became visible.

    Attributes:
        timestamp_version: the timestamp that shows the change, or the current one if nothing had to change.
        bin_versions: the new versions of the bins that were touched; empty if nothing had to change.
    """

    timestamp_version: int
    snapshot_version: int
    bin_versions: Mapping[str, int]
    request_id: str


@dataclass(frozen=True)
class Publication:
    """A step from one state of the repository, as clients see it, to the next.

    Attributes:
        timestamp_version: the timestamp that shows it, higher than the one before. Give it as ``after`` to watch on.
        bin_versions: the new versions of the bins that changed or were renewed, by role name.
        published_at: by the daemon's clock; None if the daemon did not say.
    """

    timestamp_version: int
    snapshot_version: int
    bin_versions: Mapping[str, int]
    published_at: datetime | None
