"""Checks that try to get out of the sandbox, or to harm it; workers load them by name.

They only misbehave when they see a member whose content is ``misbehave``, which a worker does not show them before it
is confined. Some report what came of their attempts: ``escaped`` with what was reached, ``refused`` with the error.
"""

# The system calls themselves are tried, from tables that nobody changes.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH115, PTH116, PTH208, RUF012

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

from wharfinger_daemon.scanning.plugin import Evidence, FileCheck, Member


class _Attempts(FileCheck):
    """Tries everything in ``attempts``."""

    version = "1"
    attempts: dict[str, Callable[[], object]]

    def member(self, member: Member) -> Iterator[Evidence]:
        if member.content != b"misbehave":
            return
        for name, attempt in self.attempts.items():
            try:
                reached = attempt()
            except (OSError, RuntimeError, ValueError) as error:
                yield Evidence(rule="refused", message=f"{name}: {type(error).__name__} {error}")
            else:
                yield Evidence(rule="escaped", message=f"{name}: {reached!r}")


def _system_call(number: int, *arguments: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def _fork() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    return child


def _thread() -> str:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    return "ran"


class FileEscape(_Attempts):
    name = "file-escape"
    attempts = {
        "read a file": lambda: os.open("/etc/hostname", os.O_RDONLY),
        "list a directory": lambda: os.listdir("/"),
        "write a file": lambda: os.open("/tmp/escaped", os.O_WRONLY | os.O_CREAT),
        "make a directory": lambda: os.mkdir("/tmp/escaped-directory"),
        "remove a file": lambda: os.unlink("/tmp/escaped"),
        "rename": lambda: os.rename("/tmp/escaped", "/tmp/escaped-too"),
        "change mode": lambda: os.chmod("/tmp", 0o777),
        "read another process' environment": lambda: os.open("/proc/1/environ", os.O_RDONLY),
        "read the daemon's memory": lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY),
        "read its own memory": lambda: os.open("/proc/self/mem", os.O_RDWR),
        "see whether a file exists": lambda: os.stat("/etc/hostname"),
        "change directory": lambda: os.chdir("/etc"),
        "read a link": lambda: os.readlink("/proc/self/exe"),
        "make a file in memory": lambda: os.memfd_create("escaped"),
        "make a pipe": os.pipe,
        "open a terminal": os.openpty,
        "watch files": lambda: _system_call(253),
    }


class ProcessEscape(_Attempts):
    name = "process-escape"
    attempts = {
        "fork": _fork,
        "start a thread": _thread,
        "execute": lambda: os.execv("/bin/true", ["/bin/true"]),
        "spawn": lambda: os.posix_spawn("/bin/true", ["/bin/true"], {}),
        "kill the daemon": lambda: os.kill(os.getppid(), signal.SIGTERM),
        "signal the daemon": lambda: os.kill(os.getppid(), 0),
        "trace the daemon": lambda: _system_call(101, 16, os.getppid()),
        "read the daemon's memory directly": lambda: _system_call(310, os.getppid(), 0, 0, 0, 0, 0),
        "open the daemon as a descriptor": lambda: os.pidfd_open(os.getppid()),
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_CPU, (1, 1)),
        "limit the daemon": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)),
        "enter a namespace": lambda: _system_call(272, 0x10000000),
        "change user": lambda: os.setuid(0),
        "load a kernel program": lambda: _system_call(321, 5, 0, 0),
        "make an io_uring": lambda: _system_call(425, 8, 0),
        "use a key ring": lambda: _system_call(250, 0, 0, 0),
        "make memory executable": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "be seen by debuggers": lambda: _system_call(157, 4, 1, 0, 0, 0),
        "outlive the daemon": lambda: _system_call(157, 1, 0, 0, 0, 0),
    }


class NetworkEscape(_Attempts):
    name = "network-escape"
    attempts = {
        "TCP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "IPv6 socket": lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM),
        "Unix socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "socket pair": socket.socketpair,
        "name look-up": lambda: socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM),
    }


class ArtifactTampering(_Attempts):
    """Goes for the artifact's descriptor, whichever it is."""

    name = "artifact-tampering"

    @property
    def attempts(self) -> dict[str, Callable[[], object]]:  # type: ignore[override]
        tries: dict[str, Callable[[], object]] = {}
        for descriptor in range(3, 32):
            tries[f"write to {descriptor}"] = lambda d=descriptor: os.pwrite(d, b"x", 0)
            tries[f"truncate {descriptor}"] = lambda d=descriptor: os.ftruncate(d, 0)
            tries[f"map {descriptor}"] = lambda d=descriptor: _system_call(9, 0, 4096, 3, 1, d, 0)
            tries[f"duplicate {descriptor}"] = lambda d=descriptor: os.dup(d)
        return tries


class EnvironmentReader(FileCheck):
    """Reports what it inherited."""

    name = "environment-reader"
    version = "1"

    def end(self) -> Iterator[Evidence]:
        yield Evidence(rule="environment", message=" ".join(sorted(os.environ)))
        seen = []
        for descriptor in range(64):
            try:
                os.lseek(descriptor, 0, os.SEEK_CUR)
            except OSError as error:
                if error.errno != 9:
                    seen.append(descriptor)
            else:
                seen.append(descriptor)
        yield Evidence(rule="descriptors", message=" ".join(map(str, seen)))


class Chatterbox(FileCheck):
    """Prints, on both streams and beneath Python."""

    name = "chatterbox"
    version = "1"

    def member(self, member: Member) -> Iterator[Evidence]:
        print("\x00\x00\x00\x05hello" * 1000, flush=True)
        os.write(1, b"\x00\x00\x00\x01\xc0" * 1000)
        os.write(2, b"\x00\x00\x00\x01\xc0" * 1000)
        yield Evidence(rule="spoke", message="It has spoken.")


class _OnTrigger(FileCheck):
    """Does one bad thing."""

    version = "1"

    def member(self, member: Member) -> Iterator[Evidence]:
        if member.content == b"misbehave":
            self.misbehave()
        yield Evidence(rule="saw", message="It has seen a member.")

    def misbehave(self) -> None:
        raise NotImplementedError


class EndlessLoop(_OnTrigger):
    name = "endless-loop"

    def misbehave(self) -> None:
        while True:
            pass


class StubbornLoop(_OnTrigger):
    """Turns the alarm off, so that only the daemon can end it."""

    name = "stubborn-loop"

    def misbehave(self) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        while True:
            time.sleep(0.01)


class MemoryHog(_OnTrigger):
    name = "memory-hog"

    def misbehave(self) -> None:
        hoard = []
        while True:
            hoard.append(bytearray(16 * 1024 * 1024))


class NativeMemoryHog(_OnTrigger):
    """Takes memory until there is none, and then dies without a word."""

    name = "native-memory-hog"

    def misbehave(self) -> None:
        try:
            hoard = []
            while True:
                hoard.append(bytearray(16 * 1024 * 1024))
        except MemoryError:
            os._exit(7)


class Suicide(_OnTrigger):
    name = "suicide"

    def misbehave(self) -> None:
        ctypes.string_at(0)


class Exit(_OnTrigger):
    name = "exit"

    def misbehave(self) -> None:
        os._exit(0)


class Liar(_OnTrigger):
    """Answers in the worker's place: first nonsense, then a frame that is too long."""

    name = "liar"
    lie = b"\x00\x00\x00\x04\xc0\xc0\xc0\xc0"

    def misbehave(self) -> None:
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, self.lie)
            except OSError:
                continue
            return


class LongWindedLiar(Liar):
    name = "long-winded-liar"
    lie = b"\xff\xff\xff\xff"


class Sleeper(_OnTrigger):
    """Waits, so that a test can do something to the worker meanwhile."""

    name = "sleeper"

    def misbehave(self) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        for _ in range(6000):
            time.sleep(0.01)
