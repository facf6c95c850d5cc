"""The bytes of an artifact that is sent in chunks, again from the start if the call is made again."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wharfinger.scan.v1 import scan_pb2

CHUNK_BYTES = 256 * 1024
_SPOOL_BYTES = 8 * 1024 * 1024

ArtifactSource = str | os.PathLike[str] | bytes | BinaryIO
"""A path (``str`` or path-like), the content itself (``bytes``), or a binary file object, which is read from where it
stands and is not closed."""


class Artifact:
    """An artifact to send. Safe to read from several threads, because gRPC may still be asking for a chunk of an
    attempt that has failed when the next attempt begins: every read says where it starts.

    Attributes:
        failure: what went wrong in reading, if anything; gRPC keeps it to itself.
    """

    def __init__(self, source: ArtifactSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._start = 0
        self._closed = False
        self.failure: Exception | None = None

    def prepare(self, sha256: str) -> str:
        """Opens the artifact and returns its hexadecimal SHA-256: the one given, or one that is computed by reading it.

        There always is one, because to the daemon a stream that was cut off can look like one that ended.

        Raises:
            OSError: the file cannot be opened or read.
            TypeError: the file object was opened in text mode.
        """
        with self._lock:
            self._open()
        if sha256:
            return sha256.lower()
        digest, offset = hashlib.sha256(), 0
        while chunk := self.chunk(offset):
            digest.update(chunk)
            offset += len(chunk)
        return digest.hexdigest()

    def messages(self, header: scan_pb2.ScanHeader) -> Iterator[scan_pb2.ScanRequest]:
        """The stream of one attempt: the header, then the bytes."""
        yield scan_pb2.ScanRequest(header=header)
        offset = 0
        while chunk := self.chunk(offset):
            yield scan_pb2.ScanRequest(chunk=chunk)
            offset += len(chunk)

    def chunk(self, offset: int) -> bytes:
        """The next bytes from ``offset``; empty at the end, and when the artifact was closed."""
        with self._lock:
            if self._closed or self._file is None:
                return b""
            try:
                self._file.seek(self._start + offset)
                return self._file.read(CHUNK_BYTES)
            except Exception as error:
                self.failure = error
                raise

    def close(self) -> None:
        """Closes what was opened here; a file object that was handed in is left open, at its end."""
        with self._lock:
            self._closed = True
            if self._file is not None and self._file is not self._source:
                self._file.close()

    def _open(self) -> None:
        # Cancelling cannot stop the thread that opens: it may come here after close().
        if self._closed:
            return
        match self._source:
            case bytes():
                self._file = io.BytesIO(self._source)
            case str() | os.PathLike():
                self._file = Path(self._source).open("rb")  # noqa: SIM115 - close() closes it
            case _:
                self._file = self._rewindable(self._source)

    def _rewindable(self, source: BinaryIO) -> BinaryIO:
        if not isinstance(source.read(0), bytes):
            raise TypeError("The file object was opened in text mode; open it in binary mode.")
        if source.seekable():
            self._start = source.tell()
            return source
        # A pipe gives its bytes once, and they are needed for the digest, for sending, and for sending again.
        spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - close() closes it
        try:
            shutil.copyfileobj(source, spool, CHUNK_BYTES)
        except BaseException:
            spool.close()
            raise
        return spool  # type: ignore[return-value]  # typeshed does not say that it is a BinaryIO
