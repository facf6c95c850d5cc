"""Which files ``wharfinger scan`` is to scan. Nothing that should be scanned is left out in silence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader

_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class UnreadableFolder:
    """A folder whose content could not be listed."""

    path: str
    why: str


async def each_path(paths: Sequence[str]) -> AsyncIterator[str | UnreadableFolder]:
    """The files that arguments name: files, folders, and ``-`` for the lines of standard input."""
    for path in paths:
        if path == "-":
            async for line in _lines(sys.stdin.fileno()):
                yield os.fsdecode(line)
        elif os.path.isdir(path):  # noqa: PTH112  # pathlib takes an empty argument for the current folder
            for found in _beneath(path):
                yield found
        else:
            yield path


def open_artifact(path: str) -> BufferedReader:
    """Opens a regular file, and nothing that could block or never end.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer. It changes nothing for regular files.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError as error:
        raise OSError(0, "no path has a NUL character") from error
    file = os.fdopen(descriptor, "rb") if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    if file is None:
        os.close(descriptor)
        raise OSError(0, "it is not a regular file")
    return file


def _beneath(folder: str) -> Iterator[str | UnreadableFolder]:
    failures: list[OSError] = []
    for directory, folders, names in os.walk(folder, onerror=failures.append):
        yield from _told(failures)
        folders.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)  # noqa: PTH118  # text, which may be any bytes
            if _may_be_file(path):
                yield path
    yield from _told(failures)


def _told(failures: list[OSError]) -> Iterator[UnreadableFolder]:
    while failures:
        failure = failures.pop()
        yield UnreadableFolder(str(failure.filename), failure.strerror or str(failure))


def _may_be_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except PermissionError:
        return True  # It is answered with an error when it is opened.
    except OSError:
        return False  # A link that leads nowhere, or round in circles.


async def _lines(descriptor: int) -> AsyncIterator[bytes]:
    """The lines of a descriptor, each as soon as it is there, without empty ones."""
    rest = b""
    while chunk := await _read(descriptor):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


async def _read(descriptor: int) -> bytes:
    # On a thread that the program's end does not wait for: nobody may ever write the next line.
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        content: bytes | OSError
        try:
            content = os.read(descriptor, _READ_BYTES)
        except OSError as error:
            content = error
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(_resolve, answer, content)

    threading.Thread(target=read, daemon=True, name="paths").start()
    return await answer


def _resolve(answer: asyncio.Future[bytes], content: bytes | OSError) -> None:
    if answer.cancelled():
        return
    if isinstance(content, bytes):
        answer.set_result(content)
    else:
        answer.set_exception(content)
