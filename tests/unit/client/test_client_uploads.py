"""Artifacts that are streamed: chunks, digests, repetitions, and files that fail."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.unit.client.conftest import Caller
from tests.unit.client.fake_daemon import Abort, FakeDaemon, scan_message, scan_reply
from wharfinger.scan.v1 import scan_pb2
from wharfinger_client import (
    AsyncClient,
    ClientSettings,
    InvalidRequestError,
    ServerError,
    Subject,
)
from wharfinger_client._artifact import CHUNK_BYTES, Artifact

SUBJECT = Subject.file(project="example", version="1.0", filename="example-1.0.tar.gz")
CONTENT = bytes(range(256)) * 4000  # just over three chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Pipe(io.RawIOBase):
    """A file object that cannot be rewound."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


class FailingFile(io.BytesIO):
    """A file on a disk that fails after the first chunk."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 0:
            raise OSError("the disk failed")
        return super().read(size)


@pytest.fixture
def scanning(daemon: FakeDaemon) -> FakeDaemon:
    """A daemon that reads the whole stream and answers with a scan of the digest in its header."""

    def answer(request_iterator: Any, context: grpc.ServicerContext) -> scan_pb2.ScanResponse:
        messages, reply = scan_reply(request_iterator)
        daemon.script.record("Scan", messages, context)
        return reply

    daemon.script.set("Scan", answer)
    return daemon


@pytest.mark.parametrize("kind", ["path", "text path", "bytes", "file object"])
def test_an_artifact_is_sent_as_header_and_chunks(
    kind: str, tmp_path: Path, call: Caller, scanning: FakeDaemon
) -> None:
    path = tmp_path / "example-1.0.tar.gz"
    path.write_bytes(CONTENT)
    sources = {"path": path, "text path": str(path), "bytes": CONTENT, "file object": io.BytesIO(CONTENT)}

    reply = call("scan_file", sources[kind], subject=SUBJECT, request_id="upload-7")

    assert (SHA256, False) == (reply.scan.sha256, reply.replayed)
    header, *chunks = scanning.received[0].messages
    assert (SHA256, "upload-7", "example") == (
        header.header.sha256,
        header.header.request_id,
        header.header.subject.project,
    )
    assert CONTENT == scanning.received[0].content
    assert [CHUNK_BYTES] * 3 == [len(message.chunk) for message in chunks][:3]
    assert 256 * 1024 >= max(len(message.chunk) for message in chunks)


def test_an_empty_artifact_is_a_header_alone(call: Caller, scanning: FakeDaemon) -> None:
    call("scan_file", b"", subject=SUBJECT)
    assert 1 == len(scanning.received[0].messages)


def test_a_file_object_is_read_from_where_it_stands_and_left_open(call: Caller, scanning: FakeDaemon) -> None:
    file = io.BytesIO(b"skipped" + CONTENT)
    file.seek(7)
    call("scan_file", file, subject=SUBJECT)
    assert CONTENT == scanning.received[0].content
    assert not file.closed


def test_a_known_digest_is_sent_as_it_is_given_in_lower_case(call: Caller, scanning: FakeDaemon) -> None:
    call("scan_file", CONTENT, subject=SUBJECT, sha256=SHA256.upper())
    assert SHA256 == scanning.received[0].messages[0].header.sha256


def test_an_upload_is_sent_again_from_its_first_byte(call: Caller, daemon: FakeDaemon) -> None:
    reply = scan_pb2.ScanResponse(scan=scan_message(sha256=SHA256), replayed=True)
    daemon.script.set("Scan", Abort(grpc.StatusCode.UNAVAILABLE, "draining"), reply)
    file = io.BytesIO(b"skipped" + CONTENT)
    file.seek(7)

    assert call("scan_file", file, subject=SUBJECT).replayed
    assert [CONTENT, CONTENT] == [received.content for received in daemon.received]


@pytest.mark.parametrize("known", ["", SHA256], ids=["digest unknown", "digest known"])
def test_what_cannot_be_rewound_is_spooled_so_that_it_can_be_sent_again(
    known: str, call: Caller, daemon: FakeDaemon
) -> None:
    reply = scan_pb2.ScanResponse(scan=scan_message(sha256=SHA256))
    daemon.script.set("Scan", Abort(grpc.StatusCode.UNAVAILABLE, "draining"), reply)
    call("scan_file", Pipe(CONTENT), subject=SUBJECT, sha256=known)
    assert [CONTENT, CONTENT] == [received.content for received in daemon.received]
    assert SHA256 == daemon.received[0].messages[0].header.sha256


class FailingPipe(Pipe):
    """A pipe that breaks before its end."""

    def read(self, size: int = -1) -> bytes:
        taken = super().read(size)
        if not taken and size:
            raise BrokenPipeError("the pipe broke")
        return taken


def test_a_pipe_that_breaks_is_an_os_error_and_nothing_is_sent(call: Caller, daemon: FakeDaemon) -> None:
    with pytest.raises(BrokenPipeError):
        call("scan_file", FailingPipe(CONTENT), subject=SUBJECT, sha256=SHA256)
    assert [] == daemon.received


def test_a_missing_file_is_an_os_error_and_nothing_is_sent(tmp_path: Path, call: Caller, daemon: FakeDaemon) -> None:
    with pytest.raises(FileNotFoundError):
        call("scan_file", tmp_path / "missing", subject=SUBJECT)
    assert [] == daemon.received


def test_a_file_in_text_mode_is_refused(call: Caller, daemon: FakeDaemon) -> None:
    with pytest.raises(TypeError, match="binary mode"):
        call("scan_file", io.StringIO("text"), subject=SUBJECT)
    assert [] == daemon.received


def test_a_file_that_fails_while_it_is_hashed_is_an_os_error_and_nothing_is_sent(
    call: Caller, daemon: FakeDaemon
) -> None:
    with pytest.raises(OSError, match="the disk failed"):
        call("scan_file", FailingFile(CONTENT), subject=SUBJECT)
    assert [] == daemon.received


def test_a_file_that_fails_half_way_is_an_os_error_and_never_passes_for_whole(call: Caller, daemon: FakeDaemon) -> None:
    """gRPC servers, blocking and asyncio, may see a cancelled stream as one that ended: its digest tells the truth."""
    read = threading.Event()
    seen = []

    def answer(request_iterator: Any, context: grpc.ServicerContext) -> scan_pb2.ScanResponse:
        try:
            messages, reply = scan_reply(request_iterator)
            seen.append((messages[0].header.sha256, b"".join(message.chunk for message in messages)))
        finally:
            read.set()
        return reply

    daemon.script.set("Scan", answer)
    with pytest.raises(OSError, match="the disk failed"):
        call("scan_file", FailingFile(CONTENT), subject=SUBJECT, sha256=SHA256)
    assert read.wait(30)
    assert all(stated == SHA256 and content != CONTENT for stated, content in seen)


def test_a_daemon_may_refuse_before_it_has_read_all(call: Caller, daemon: FakeDaemon) -> None:
    def refuse(request_iterator: Any, context: grpc.ServicerContext) -> Any:
        next(request_iterator)
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad subject")

    daemon.script.set("Scan", refuse)
    with pytest.raises(InvalidRequestError, match="bad subject"):
        call("scan_file", CONTENT * 20, subject=SUBJECT)


def test_a_daemon_may_answer_before_it_has_read_all(call: Caller, daemon: FakeDaemon) -> None:
    """It knows the digest, and returns the scan that it has."""
    content = CONTENT * 20
    sha256 = hashlib.sha256(content).hexdigest()

    def answer(request_iterator: Any, context: grpc.ServicerContext) -> scan_pb2.ScanResponse:
        next(request_iterator)
        return scan_pb2.ScanResponse(scan=scan_message(sha256=sha256), replayed=True)

    daemon.script.set("Scan", answer)
    assert call("scan_file", content, subject=SUBJECT).replayed


def test_an_answer_about_other_bytes_is_an_error(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("Scan", scan_pb2.ScanResponse(scan=scan_message(sha256="ff")))
    with pytest.raises(ServerError, match="a scan of sha256 ff"):
        call("scan_file", CONTENT, subject=SUBJECT)


async def test_a_cancelled_upload_is_cancelled_at_the_daemon_and_its_file_closed(
    daemon: FakeDaemon, settings: ClientSettings, tmp_path: Path
) -> None:
    """pytest turns the warning of a file that is left open into an error."""
    path = tmp_path / "example-1.0.tar.gz"
    path.write_bytes(CONTENT)
    started, gone = threading.Event(), threading.Event()

    def answer(request_iterator: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(gone.set)
        started.set()
        gone.wait(30)
        context.abort(grpc.StatusCode.CANCELLED, "cancelled")

    daemon.script.set("Scan", answer)
    async with AsyncClient(settings) as client:
        task = asyncio.create_task(client.scan_file(path, subject=SUBJECT))
        assert await asyncio.to_thread(started.wait, 30)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gone.wait, 30)
    assert task.cancelled()


def test_a_closed_artifact_gives_nothing_more() -> None:
    """A thread of gRPC may come late to an attempt that is over."""
    artifact = Artifact(CONTENT)
    artifact.prepare(SHA256)
    artifact.close()
    assert b"" == artifact.chunk(0)


def test_an_artifact_that_was_closed_is_not_opened(tmp_path: Path) -> None:
    """The thread that opens it may come late, after its task was cancelled; pytest warns of a file left open."""
    path = tmp_path / "artifact"
    path.write_bytes(CONTENT)
    artifact = Artifact(path)
    artifact.close()
    artifact.prepare(SHA256)
    assert b"" == artifact.chunk(0)
