"""What the fake publishes: rows without metadata files, in one bin."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from wharfinger.metadata.v1 import metadata_pb2
from wharfinger_client.metadata import Target
from wharfinger_client.testing._refusals import invalid, missing

_BIN = "bins-0"
_LIFE = timedelta(days=7)
_HEX_LENGTHS = {"sha256": 64, "sha512": 128, "blake2b-256": 64}


class PublishedTargets:
    """The targets of each repository, and the version that shows them. Not safe for threads."""

    def __init__(self, repositories: frozenset[str]) -> None:
        self._targets: dict[str, dict[str, metadata_pb2.Target]] = {name: {} for name in repositories}
        self._versions = dict.fromkeys(repositories, 1)

    def targets(self) -> dict[str, dict[str, Target]]:
        """All of them, as values."""
        return {
            repository: {path: Target(path, found.length, dict(found.hashes)) for path, found in targets.items()}
            for repository, targets in self._targets.items()
        }

    def publish(self, request: metadata_pb2.PublishTargetsRequest) -> metadata_pb2.PublishTargetsResponse:
        """All of the change, or nothing of it if a part is refused."""
        before = self._repository(request.repository)
        for target in request.add:
            _check_target(target)
        for path in request.remove:
            _check_path(path)
        after = {path: target for path, target in before.items() if path not in request.remove}
        after |= {target.path: target for target in request.add}
        changed = after != before
        if changed:
            self._targets[request.repository] = after
            self._versions[request.repository] += 1
        version = self._versions[request.repository]
        return metadata_pb2.PublishTargetsResponse(
            timestamp_version=version,
            snapshot_version=version,
            bin_versions={_BIN: version} if changed else {},
            request_id=request.request_id,
        )

    def get(self, request: metadata_pb2.GetTargetRequest) -> metadata_pb2.GetTargetResponse:
        """What is published of one path."""
        target = self._repository(request.repository).get(request.path)
        if target is None:
            raise missing(f"'{request.path}' is not a target of {request.repository}.", "TARGET_NOT_FOUND")
        expires = Timestamp()
        expires.FromDatetime(datetime.now(UTC) + _LIFE)
        return metadata_pb2.GetTargetResponse(
            target=target, role=_BIN, role_version=self._versions[request.repository], expires=expires
        )

    def _repository(self, name: str) -> dict[str, metadata_pb2.Target]:
        if name not in self._targets:
            raise missing(f"There is no repository '{name}'.", "UNKNOWN_REPOSITORY")
        return self._targets[name]


def _check_target(target: metadata_pb2.Target) -> None:
    _check_path(target.path)
    if target.length < 0:
        raise invalid(f"Target '{target.path}' has a negative length.", "TARGET_INVALID")
    if not {"sha256", "sha512"} & set(target.hashes):
        raise invalid(f"Target '{target.path}' has neither a sha256 nor a sha512.", "TARGET_INVALID")
    for name, digest in target.hashes.items():
        if re.fullmatch(r"[0-9a-f]+", digest) is None or len(digest) != _HEX_LENGTHS.get(name, -1):
            raise invalid(f"Target '{target.path}' has an unusable hash {name}.", "TARGET_INVALID")


def _check_path(path: str) -> None:
    parts = path.split("/")
    if (
        not (path.isascii() and path.isprintable())
        or {'"', "\\"} & set(path)
        or not all(parts)
        or {".", ".."} & set(parts)
    ):
        raise invalid("That cannot be the path of a target.", "TARGET_PATH_INVALID")
