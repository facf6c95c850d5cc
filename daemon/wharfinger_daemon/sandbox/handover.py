"""Gives a worker an artifact for reading only."""

from __future__ import annotations

import io
import os
import shutil
from typing import BinaryIO


def readonly_descriptor(artifact: BinaryIO) -> int:
    """A new descriptor of the artifact, with a position of its own, that allows nothing but reading.

    A file is opened again through ``/proc``, which works for deleted ones too; what has no descriptor is copied to
    memory. It may take as long as the disk takes: call it in a thread. The caller closes the descriptor.

    Raises:
        OSError: the artifact cannot be read.
    """
    try:
        own = artifact.fileno()
    except (io.UnsupportedOperation, AttributeError):
        return _copied(artifact)
    if artifact.writable():
        artifact.flush()
    return _reopened(own)


def _reopened(descriptor: int) -> int:
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def _copied(artifact: BinaryIO) -> int:
    artifact.seek(0)
    with io.FileIO(os.memfd_create("artifact"), "w+b") as copy:
        shutil.copyfileobj(artifact, copy)
        return _reopened(copy.fileno())
