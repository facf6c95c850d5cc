"""What the two sides say to each other, and what neither accepts of the other."""

from __future__ import annotations

import array
import asyncio
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from wharfinger_daemon.sandbox import protocol
from wharfinger_daemon.scanning.model import Examination, Finding, Subject, SubjectKind, Unread

SUBJECT = Subject(kind=SubjectKind.FILE, project="sample", version="1", filename="sample-1.tar.gz")
EXAMINATION = Examination(
    findings=(Finding("check", "1", "rule", "message", "member", 3, "excerpt"),),
    unread=(Unread("a", "b"),),
    seconds=0.5,
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The daemon's end, which does not block, and the worker's."""
    daemon, worker = socket.socketpair()
    daemon.setblocking(False)
    with daemon, worker:
        yield daemon, worker


Pair = tuple[socket.socket, socket.socket]


async def test_a_job_goes_out_with_a_descriptor_and_its_result_comes_back(pair: Pair, tmp_path: Path) -> None:
    daemon, worker = pair
    (tmp_path / "artifact").write_bytes(b"content")
    with (tmp_path / "artifact").open("rb") as artifact:
        await protocol.send_async(daemon, protocol.Job(subject=SUBJECT), artifact.fileno())
    job, descriptor = protocol.receive_job(worker)
    with io.FileIO(descriptor) as received:
        assert (SUBJECT, b"content") == (job.subject, received.read())
    protocol.send(worker, protocol.Done(examination=EXAMINATION))
    answer = await protocol.receive_async(daemon, protocol.ANSWER)
    assert protocol.Done(examination=EXAMINATION) == answer


async def test_large_frames_come_whole(pair: Pair) -> None:
    daemon, worker = pair
    large = protocol.Failed(why="x" * 3_000_000, by_content=True)
    sending = asyncio.create_task(asyncio.to_thread(protocol.send, worker, large))
    assert large == await protocol.receive_async(daemon, protocol.ANSWER)
    await sending


@pytest.mark.parametrize(
    "said",
    [
        b"\0\0\0\0",
        b"\0\0\0\1\xc1",
        b"\0\0\0\1\xc0",
        (protocol.MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        protocol.frame(protocol.Refusal(why="a greeting, and no answer")),
        (100_000).to_bytes(4, "big") + b"\x91" * 100_000,
    ],
)
async def test_what_is_no_answer_is_a_violation(pair: Pair, said: bytes) -> None:
    """A worker that was taken over cannot make the daemon decode anything else, or allocate much."""
    daemon, worker = pair
    worker.sendall(said)
    with pytest.raises(protocol.ProtocolViolationError):
        await protocol.receive_async(daemon, protocol.ANSWER)


async def test_text_that_is_not_utf8_is_a_violation(pair: Pair) -> None:
    daemon, worker = pair
    payload = msgspec.msgpack.encode(protocol.Failed(why="????", by_content=True)).replace(b"????", b"\xff\xfe\xfd\xfc")
    worker.sendall(len(payload).to_bytes(4, "big") + payload)
    with pytest.raises(protocol.ProtocolViolationError):
        await protocol.receive_async(daemon, protocol.ANSWER)


@pytest.mark.parametrize("said", [b"", b"\0\0", b"\0\0\0\5abc"])
async def test_an_end_in_the_middle_is_the_end(pair: Pair, said: bytes) -> None:
    daemon, worker = pair
    worker.sendall(said)
    worker.close()
    with pytest.raises(EOFError):
        await protocol.receive_async(daemon, protocol.ANSWER)


async def test_a_worker_that_is_gone_cannot_be_spoken_to(pair: Pair) -> None:
    daemon, worker = pair
    worker.close()
    with pytest.raises(EOFError):
        await protocol.send_async(daemon, protocol.Job(subject=SUBJECT))


async def test_a_worker_that_died_with_data_unread_is_the_end(pair: Pair) -> None:
    """The kernel reports a reset connection then."""
    daemon, worker = pair
    await protocol.send_async(daemon, protocol.Job(subject=SUBJECT))
    worker.close()
    with pytest.raises(EOFError):
        await protocol.receive_async(daemon, protocol.ANSWER)


@pytest.mark.parametrize("count", [0, 2])
def test_a_job_comes_with_one_descriptor(pair: Pair, count: int) -> None:
    """Others are closed, and the job is refused."""
    daemon, worker = pair
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", opened))] if count else []
    daemon.sendmsg([protocol.frame(protocol.Job(subject=SUBJECT))], ancillary)
    with pytest.raises(protocol.ProtocolViolationError, match=f"{count} descriptors"):
        protocol.receive_job(worker)
    assert before == len(list(Path("/proc/self/fd").iterdir()))
    for descriptor in opened:
        os.close(descriptor)


def test_a_job_that_is_cut_leaves_no_descriptor(pair: Pair) -> None:
    daemon, worker = pair
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Path("/dev/null").open("rb") as null:
        socket.send_fds(daemon, [b"\0"], [null.fileno()])
    daemon.close()
    with pytest.raises(EOFError):
        protocol.receive_job(worker)
    assert before - 1 == len(list(Path("/proc/self/fd").iterdir()))


def test_the_end_of_the_channel_is_no_job(pair: Pair) -> None:
    daemon, worker = pair
    daemon.close()
    with pytest.raises(EOFError):
        protocol.receive_job(worker)
