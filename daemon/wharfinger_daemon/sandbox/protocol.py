"""What daemon and worker say to each other, over a pair of Unix sockets.

A frame is its length in four bytes, big-endian, and a MessagePack value. The daemon says ``Setup`` once; the worker
answers ``Hello`` or ``Refusal``. Then, for each ``Job``, with which the artifact comes as a descriptor of its own
(SCM_RIGHTS), the worker answers ``Done`` or ``Failed``. The end of the stream ends the worker.

The worker may be in the hands of the artifact's author: what it says is decoded into these types or not at all, and no
frame is longer than ``MAX_FRAME_BYTES``.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from typing import TypeVar

import msgspec

from wharfinger_daemon.sandbox.layers import Layer
from wharfinger_daemon.sandbox.settings import CheckSource
from wharfinger_daemon.scanning.engine import EngineLimits
from wharfinger_daemon.scanning.model import Examination, Subject
from wharfinger_daemon.scanning.registry import LoadFailure

MAX_FRAME_BYTES = 32 * 1024 * 1024
_LENGTH_BYTES = 4


class Setup(msgspec.Struct, frozen=True):
    """How to work. ``parent`` is the daemon's process id; ``cpu_seconds`` is for the worker's whole life."""

    parent: int
    limits: EngineLimits
    checks: CheckSource
    memory_bytes: int
    cpu_seconds: int


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The worker is confined and ready."""

    rule_set: str
    active: tuple[Layer, ...]
    missing: dict[Layer, str]
    load_failures: tuple[LoadFailure, ...]


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """The worker cannot work at all."""

    why: str


class Job(msgspec.Struct, frozen=True):
    """Examine the artifact that comes with this."""

    subject: Subject


class Done(msgspec.Struct, frozen=True, tag=True):
    """The job's result."""

    examination: Examination


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The job could not be done. ``by_content`` tells whether the artifact is the cause."""

    why: str
    by_content: bool


SETUP: msgspec.msgpack.Decoder[Setup] = msgspec.msgpack.Decoder(Setup)
GREETING: msgspec.msgpack.Decoder[Hello | Refusal] = msgspec.msgpack.Decoder(Hello | Refusal)
JOB: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)
ANSWER: msgspec.msgpack.Decoder[Done | Failed] = msgspec.msgpack.Decoder(Done | Failed)

_T = TypeVar("_T")


class ProtocolViolationError(Exception):
    """The other side said something that it should not."""


def frame(value: msgspec.Struct) -> bytes:
    """The value as it goes over the wire."""
    payload = msgspec.msgpack.encode(value)
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


def _length(header: bytes) -> int:
    length = int.from_bytes(header, "big")
    if length > MAX_FRAME_BYTES:
        raise ProtocolViolationError(f"A frame of {length} bytes was announced.")
    return length


def _decoded(payload: bytes, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolationError(f"A frame could not be understood: {error}") from error


async def receive_async(channel: socket.socket, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
    """The next value, on a socket that does not block; the daemon's side.

    Raises:
        EOFError: the other side has closed its end, or was killed.
        ProtocolViolationError: it is not what was expected.
    """
    return _decoded(await _exactly_async(channel, _length(await _exactly_async(channel, _LENGTH_BYTES))), decoder)


async def _exactly_async(channel: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = bytearray()
    while len(received) < count:
        try:
            piece = await loop.sock_recv(channel, count - len(received))
        except ConnectionError as error:
            raise EOFError from error
        if not piece:
            raise EOFError
        received += piece
    return bytes(received)


async def send_async(channel: socket.socket, value: msgspec.Struct, descriptor: int | None = None) -> None:
    """Sends a value, with a descriptor if there is one, on a socket that does not block; the daemon's side.

    Raises:
        EOFError: the other side is gone.
    """
    data = memoryview(frame(value))
    sent = 0
    try:
        if descriptor is not None:
            # The worker is idle, so that the socket's buffer is empty and takes at least one byte at once.
            sent = socket.send_fds(channel, [data], [descriptor])
        await asyncio.get_running_loop().sock_sendall(channel, data[sent:])
    except ConnectionError as error:
        raise EOFError from error


def receive(channel: socket.socket, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
    """The next value, on a socket that blocks; the worker's side.

    Raises:
        EOFError, ProtocolViolationError: as with ``receive_async``.
    """
    return _decoded(_exactly(channel, _length(_exactly(channel, _LENGTH_BYTES))), decoder)


def receive_job(channel: socket.socket) -> tuple[Job, int]:
    """The next job and the artifact's descriptor, which the caller must close; the worker's side.

    Raises:
        EOFError, ProtocolViolationError: as with ``receive_async``; no descriptor is left open.
    """
    header, descriptors = _header_with_descriptors(channel)
    try:
        if len(descriptors) != 1:
            raise ProtocolViolationError(f"A job came with {len(descriptors)} descriptors instead of one.")
        header += _exactly(channel, _LENGTH_BYTES - len(header))
        return _decoded(_exactly(channel, _length(header)), JOB), descriptors[0]
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _header_with_descriptors(channel: socket.socket) -> tuple[bytes, list[int]]:
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(2 * descriptors.itemsize)
    header, ancillary, _, _ = channel.recvmsg(_LENGTH_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    if not header:
        raise EOFError
    # Only descriptors can come: credentials would have to be asked for.
    for _, _, content in ancillary:
        descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return header, list(descriptors)


def _exactly(channel: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = channel.recv(count - len(received))
        if not piece:
            raise EOFError
        received += piece
    return bytes(received)


def send(channel: socket.socket, value: msgspec.Struct) -> None:
    """Sends a value on a socket that blocks; the worker's side."""
    channel.sendall(frame(value))
