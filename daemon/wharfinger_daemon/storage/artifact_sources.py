"""Where the daemon reads artifacts by itself: paths beneath configured roots, and URLs of allowed hosts.

Both are closed by default: without roots or hosts, everything is refused.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path, PurePosixPath

from wharfinger_daemon.errors import (
    InvalidRequestError,
    NotFoundError,
    NotGrantedError,
    Reason,
    UnavailableError,
)
from wharfinger_daemon.scanning.model import ArtifactPath, ArtifactReference
from wharfinger_daemon.scanning.ports import ArtifactSource
from wharfinger_daemon.storage.beneath import EscapeError, open_beneath

_CHUNK_BYTES = 1 << 20
_MAX_PATH_CHARACTERS = 4096


class ArtifactRoots:
    """Reads regular files beneath the roots; the first root that has the path is used.

    ``..``, absolute paths and symbolic links of any kind are refused, even ones that would stay inside: what a path
    means must not depend on what somebody else can put there.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)

    async def check(self, reference: ArtifactReference) -> None:
        descriptor = await asyncio.to_thread(self._open, _path_of(reference))
        os.close(descriptor)

    async def chunks(self, reference: ArtifactReference) -> AsyncIterator[bytes]:
        descriptor = await asyncio.to_thread(self._open, _path_of(reference))
        try:
            while chunk := await asyncio.to_thread(_read, descriptor):
                yield chunk
        finally:
            os.close(descriptor)

    def _open(self, path: str) -> int:
        _require_relative(path)
        if not self._roots:
            raise NotGrantedError(
                "This daemon has no artifact roots, so no path is read. Configure scan.artifact_roots, or stream.",
                reason=Reason.ARTIFACT_OUTSIDE_ROOTS,
            )
        for root in self._roots:
            try:
                descriptor = open_beneath(root, path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except EscapeError as error:
                raise NotGrantedError(
                    "The path leads through a symbolic link or outside the artifact roots, which is refused.",
                    reason=Reason.ARTIFACT_OUTSIDE_ROOTS,
                ) from error
            except OSError as error:
                raise UnavailableError(
                    f"The artifact cannot be opened: {error.strerror}. Look at its permissions and the disk.",
                    reason=Reason.FETCH_FAILED,
                ) from error
            return _require_regular(descriptor)
        raise NotFoundError("No artifact root has a file of this path.", reason=Reason.ARTIFACT_NOT_FOUND)


class ArtifactSources:
    """Paths from one source, URLs from another."""

    def __init__(self, paths: ArtifactSource, urls: ArtifactSource) -> None:
        self._paths = paths
        self._urls = urls

    async def check(self, reference: ArtifactReference) -> None:
        await self._of(reference).check(reference)

    def chunks(self, reference: ArtifactReference) -> AsyncIterator[bytes]:
        return self._of(reference).chunks(reference)

    def _of(self, reference: ArtifactReference) -> ArtifactSource:
        return self._paths if isinstance(reference, ArtifactPath) else self._urls


def _path_of(reference: ArtifactReference) -> str:
    assert isinstance(reference, ArtifactPath)  # ArtifactSources sends URLs elsewhere.
    return reference.path


def _require_relative(path: str) -> None:
    if not path or len(path) > _MAX_PATH_CHARACTERS or "\0" in path:
        raise InvalidRequestError(
            f"An artifact path has 1 to {_MAX_PATH_CHARACTERS} characters, none of them NUL.",
            reason=Reason.MALFORMED_REQUEST,
        )
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise NotGrantedError(
            "An artifact path is relative to an artifact root and has no '..'.", reason=Reason.ARTIFACT_OUTSIDE_ROOTS
        )


def _require_regular(descriptor: int) -> int:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise NotGrantedError(
        "The path names something that is not a regular file, which is refused.", reason=Reason.ARTIFACT_OUTSIDE_ROOTS
    )


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK_BYTES)
    except OSError as error:
        raise UnavailableError(
            f"The artifact cannot be read: {error.strerror}. Look at the disk.", reason=Reason.FETCH_FAILED
        ) from error
