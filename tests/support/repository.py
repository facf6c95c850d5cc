"""Walks a published repository from root 1 and checks what no client may ever see broken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp


def published_versions(directory: Path) -> dict[str, int]:
    """Versions of timestamp, snapshot and all that the snapshot names, every signature verified on the way."""
    root = Metadata[Root].from_file(str(directory / "1.root.json"))
    root.verify_delegate(Root.type, root)
    timestamp = Metadata[Timestamp].from_file(str(directory / "timestamp.json"))
    root.verify_delegate(Timestamp.type, timestamp)
    versions = {"timestamp": timestamp.signed.version, "snapshot": timestamp.signed.snapshot_meta.version}
    snapshot_bytes = (directory / f"{versions['snapshot']}.snapshot.json").read_bytes()
    timestamp.signed.snapshot_meta.verify_length_and_hashes(snapshot_bytes)
    snapshot = Metadata[Snapshot].from_bytes(snapshot_bytes)
    root.verify_delegate(Snapshot.type, snapshot)
    assert versions["snapshot"] == snapshot.signed.version
    for name, meta in snapshot.signed.meta.items():
        versions[name.removesuffix(".json")] = meta.version
    return versions


def targets_of(directory: Path) -> dict[str, dict[str, Any]]:
    """Every published target, each bin's signature, version and membership verified."""
    versions = published_versions(directory)
    bins = Metadata[Targets].from_file(str(directory / f"{versions['bins']}.bins.json"))
    assert bins.signed.delegations is not None and bins.signed.delegations.succinct_roles is not None
    succinct = bins.signed.delegations.succinct_roles
    found: dict[str, dict[str, Any]] = {}
    for role in succinct.get_roles():
        content = (directory / f"{versions[role]}.{role}.json").read_bytes()
        metadata = Metadata[Targets].from_bytes(content)
        bins.verify_delegate(role, metadata)
        assert versions[role] == metadata.signed.version
        for path in metadata.signed.targets:
            assert role == succinct.get_role_for_target(path)
        found |= json.loads(content)["signed"]["targets"]
    return found


class VersionWitness:
    """Remembers the content of every versioned file that it ever saw: none may change."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, str] = {}

    def look(self) -> None:
        for file in self._directory.glob("[0-9]*.json"):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            assert digest == self._seen.setdefault(file.name, digest), f"{file.name} changed its content"


def leftovers(directory: Path) -> list[Path]:
    """What is half written in a metadata directory, and nobody's lock."""
    hidden = [file for file in directory.rglob(".*") if file.is_file()]
    return [file for file in hidden if file.name not in (".publisher", ".publisher-taking")]
