"""Two snapshots compared, and the digest of one, for audits (PEP 458, "Auditing snapshots").

Signatures are not verified here: ``walk.py`` does that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from wharfinger_daemon.metadata.verification.documents import (
    SIZE_LIMITS,
    FileTooLargeError,
    FileUnreadableError,
    RepositoryFiles,
)


class SnapshotUnreadableError(ValueError):
    """A file of the snapshot is missing or cannot be read. The message says which, and why."""


@dataclass(frozen=True)
class NamedSnapshot:
    """One snapshot, and the version of each role that it names."""

    files: RepositoryFiles
    version: int
    versions: Mapping[str, int]

    def targets(self, role: str) -> dict[str, Any]:
        """What a role lists: length and hashes, by path; nothing if the snapshot does not name the role.

        Raises:
            SnapshotUnreadableError: its file cannot be read.
        """
        version = self.versions.get(role)
        if version is None:
            return {}
        name = f"{version}.{role}.json"
        targets = _signed(self.files, name, "targets").get("targets")
        if not isinstance(targets, dict):
            raise SnapshotUnreadableError(f"{name}: it lists no targets")
        return targets


@dataclass
class Difference:
    """What changed from one snapshot to another.

    Attributes:
        roles: versions before and after, by role; None where the snapshot does not name it.
        removed, added: length and hashes, by path; a path in both has changed, unless the two are equal.
    """

    roles: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    removed: dict[str, Any] = field(default_factory=dict)
    added: dict[str, Any] = field(default_factory=dict)

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """Path, entry before and entry after (None where there is none), by path."""
        for path in sorted(self.removed.keys() | self.added.keys()):
            before, after = self.removed.get(path), self.added.get(path)
            if before != after:  # Equal where a path only moved to another role.
                yield path, before, after


def open_snapshot(files: RepositoryFiles, version: int | None = None) -> NamedSnapshot:
    """A snapshot by its version, or the one that the timestamp names.

    Raises:
        SnapshotUnreadableError: it cannot be read.
    """
    if version is None:
        timestamp = _signed(files, "timestamp.json", "timestamp")
        version = _versions("timestamp.json", timestamp).get("snapshot", 0)
    name = f"{version}.snapshot.json"
    return NamedSnapshot(files, version, _versions(name, _signed(files, name, "snapshot")))


def compare(old: NamedSnapshot, new: NamedSnapshot) -> Difference:
    """What changed. Only files of roles whose version changed are read.

    Raises:
        SnapshotUnreadableError: one of them cannot be read.
    """
    found = Difference()
    for role in sorted(old.versions.keys() | new.versions.keys()):
        before, after = old.versions.get(role), new.versions.get(role)
        if before == after:
            continue
        found.roles[role] = before, after
        removed, added = old.targets(role), new.targets(role)
        found.removed |= {path: entry for path, entry in removed.items() if added.get(path) != entry}
        found.added |= {path: entry for path, entry in added.items() if removed.get(path) != entry}
    return found


def digests(snapshot: NamedSnapshot) -> dict[str, str]:
    """The SHA-256 of the snapshot's file and of every file that it names, by name, in the order of the names.

    Raises:
        SnapshotUnreadableError: one of them cannot be read.
    """
    kinds = {f"{version}.{role}.json": "targets" for role, version in snapshot.versions.items()}
    kinds[f"{snapshot.version}.snapshot.json"] = "snapshot"
    return {
        name: hashlib.sha256(_content(snapshot.files, name, kind)).hexdigest() for name, kind in sorted(kinds.items())
    }


def digest_of(by_name: Mapping[str, str]) -> str:
    """One digest for all: the SHA-256 of what ``sha256sum`` prints of the files, in the order of their names."""
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(by_name.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _content(files: RepositoryFiles, name: str, kind: str) -> bytes:
    try:
        content = files.read(name, SIZE_LIMITS[kind])
    except FileTooLargeError as error:
        raise SnapshotUnreadableError(f"{name}: it has more bytes than clients read") from error
    except FileUnreadableError as error:
        raise SnapshotUnreadableError(f"{name}: {error}") from error
    if content is None:
        raise SnapshotUnreadableError(f"{name}: it is not there")
    return content


def _signed(files: RepositoryFiles, name: str, kind: str) -> Mapping[str, Any]:
    try:
        signed = orjson.loads(_content(files, name, kind))["signed"]
        found = signed["_type"]
    except (ValueError, LookupError, TypeError) as error:
        raise SnapshotUnreadableError(f"{name}: it is no metadata") from error
    if found != kind:
        raise SnapshotUnreadableError(f"{name}: it is no {kind} metadata")
    return signed  # type: ignore[no-any-return]  # A mapping, or it had no type.


def _versions(name: str, signed: Mapping[str, Any]) -> dict[str, int]:
    try:
        versions = {file.removesuffix(".json"): entry["version"] for file, entry in signed["meta"].items()}
    except (LookupError, TypeError, AttributeError) as error:
        raise SnapshotUnreadableError(f"{name}: it names no versions") from error
    if not all(type(version) is int for version in versions.values()):
        raise SnapshotUnreadableError(f"{name}: it names versions that are no numbers")
    return versions
