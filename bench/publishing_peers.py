"""Other ways to publish uploads: python-tuf's objects, and RSTUF's algorithm.

The peers sign with a key in memory, which is cheaper than ours. What RSTUF does is written down from its description:
for each touched bin it reads the newest file, takes all rows of the bin, makes objects of them, signs, and writes JSON
with an indentation.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from bench.floors import durable
from bench.uploads import by_bin
from wharfinger_daemon import config
from wharfinger_daemon.metadata.targets import Target

_LISTED = "SELECT path, length, hashes FROM targets WHERE repository = ? AND bin = ?"


class Peers:
    """Other ways to do the same. They read our files, and write into a folder of their own.

    Args:
        home: with our files, and our database, which is read as RSTUF reads its own.
    """

    def __init__(self, home: Path) -> None:
        self._metadata = home / "metadata"
        self._rows = home / "wharfinger.db"
        self._folder = home / "peers"
        [self._repository] = [one.root_sha256 for one in config.load(home / "config.toml").repositories]
        self._signer = CryptoSigner.generate_ecdsa()
        self._folder.mkdir()

    def python_tuf(self, targets: Sequence[Target], versions: dict[str, int]) -> float:
        """Objects of each touched bin, of the snapshot and of the timestamp; seconds."""
        begun = time.perf_counter()
        for role, some in by_bin(targets).items():
            metadata = Metadata[Targets].from_file(str(self._metadata / f"{versions[role]}.{role}.json"))
            for one in some:
                metadata.signed.targets[one.path] = TargetFile(one.length, dict(one.hashes), one.path)
            self._write(metadata, role, JSONSerializer(compact=True))
        self._finish(versions, JSONSerializer(compact=True))
        return time.perf_counter() - begun

    def rstuf(self, targets: Sequence[Target], versions: dict[str, int]) -> float:
        """The same with all rows of each bin, made into objects, and with an indentation; seconds."""
        begun = time.perf_counter()
        with closing(sqlite3.connect(f"file:{self._rows}?mode=ro", uri=True)) as rows:
            for role in by_bin(targets):
                metadata = Metadata[Targets].from_file(str(self._metadata / f"{versions[role]}.{role}.json"))
                listed = rows.execute(_LISTED, (self._repository, role))
                metadata.signed.targets = {
                    path: TargetFile.from_dict({"length": length, "hashes": json.loads(hashes)}, path)
                    for path, length, hashes in listed
                }
                self._write(metadata, role, JSONSerializer())
        self._finish(versions, JSONSerializer())
        return time.perf_counter() - begun

    def _finish(self, versions: dict[str, int], serializer: JSONSerializer) -> None:
        snapshot = Metadata[Snapshot].from_file(str(self._metadata / f"{versions['snapshot']}.snapshot.json"))
        for meta in snapshot.signed.meta.values():
            meta.version += 1
        self._write(snapshot, "snapshot", serializer)
        timestamp = Metadata[Timestamp].from_file(str(self._metadata / "timestamp.json"))
        timestamp.signed.snapshot_meta.version = snapshot.signed.version
        self._write(timestamp, "timestamp", serializer)

    def _write(self, metadata: Metadata, role: str, serializer: JSONSerializer) -> None:  # type: ignore[type-arg]
        metadata.signed.version += 1
        metadata.sign(self._signer)
        durable(self._folder / f"{role}.json", metadata.to_bytes(serializer))
