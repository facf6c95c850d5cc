"""The processes of the signing benchmarks: daemons, callers, and the programs that are the floors; and their time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.daemon_process import DaemonProcess, place_home

PROGRAMS = Path(__file__).parent / "programs"
PYTHON = sys.executable
PEERS_PYTHON = str(Path(__file__).parents[1] / ".venv" / "peers" / "bin" / "python")
TOKEN = "wharfinger-development"
PEER_KEYID = 2
_ANSWER_SECONDS = 120


def processor_seconds(pid: int) -> float:
    """Seconds of the processor that a process has used, all threads together, those that have ended too.

    From the kernel's clock of the process (clock_getcpuclockid(3)), which counts nanoseconds, and not ticks of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


@dataclass
class BenchedDaemon(DaemonProcess):
    """A daemon that runs by a program of the benchmark."""

    program: Sequence[str] = field(default=("-m", "wharfinger_daemon"))

    def start(self, *, wait: bool = True) -> None:
        command = [PYTHON, *self.program, "serve", "--config", str(self.home / "config.toml")]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        if wait:
            self.wait_ready()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['grpc']}"

    def pids(self) -> dict[str, list[int]]:
        """Of the daemon, and of its HSM workers."""
        assert self.process is not None
        return {"daemon": [self.process.pid], "HSM worker": self.children()["hsm"]}


class Program:
    """A program of the benchmark that answers lines of JSON."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, **command: Any) -> dict[str, float]:
        """Sends a command and returns the answer."""
        self.send(json.dumps(command))
        return self.answer()

    def send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def line(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        assert line, f"{self._process.args!r} does not answer"
        return line.strip()

    def answer(self) -> dict[str, float]:
        answer: dict[str, float] = json.loads(self.line())
        return answer

    def close(self) -> None:
        """Ends it by ending its standard input."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def running(command: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[Program]:
    """A program, until the block ends."""
    program = Program(command, environment)
    try:
        yield program
    finally:
        program.close()


@contextlib.contextmanager
def daemon(
    pristine: Path, home: Path, *, workers: int, program: Sequence[str] = ("-m", "wharfinger_daemon")
) -> Iterator[BenchedDaemon]:
    """A daemon on a copy of a home, until the block ends."""
    ports = place_home(pristine, home)
    configuration = home / "config.toml"
    written = re.sub(r"^workers = 1$", f"workers = {workers}", configuration.read_text(), flags=re.MULTILINE)
    configuration.write_text(written)
    assert workers == tomllib.loads(configuration.read_text())["hsm"]["workers"]
    benched = BenchedDaemon(home, ports, program=program)
    benched.start()
    try:
        yield benched
    finally:
        benched.stop()


def caller(home: Path) -> contextlib.AbstractContextManager[Program]:
    """A process with the real client."""
    # Or gRPC tells of every daemon that ends.
    quiet = dict(os.environ) | {"GRPC_VERBOSITY": "NONE"}
    return running([PYTHON, str(PROGRAMS / "caller.py"), str(home / "tls")], quiet)


def direct(home: Path) -> contextlib.AbstractContextManager[Program]:
    """The module, driven directly."""
    return running([PYTHON, str(PROGRAMS / "direct.py"), _module(home), TOKEN, _pin(home), "peer"], _environment(home))


def hsm_signer(home: Path) -> contextlib.AbstractContextManager[Program]:
    """securesystemslib's HSMSigner."""
    environment = _environment(home) | {"PYKCS11LIB": _module(home)}
    return running([PEERS_PYTHON, str(PROGRAMS / "hsm_signer.py"), TOKEN, _pin(home), str(PEER_KEYID)], environment)


def generate_peer_key(home: Path) -> None:
    """Gives the floors a key of their own: HSMSigner finds keys by an integer CKA_ID, and ours have random ones."""
    token = ["--module", _module(home), "--token-label", TOKEN, "--login", "--pin", _pin(home)]
    key = ["--key-type", "EC:prime256v1", "--label", "peer", "--id", f"{PEER_KEYID:02x}", "--usage-sign"]
    command = ["pkcs11-tool", *token, "--keypairgen", *key]
    subprocess.run(command, check=True, capture_output=True, env=_environment(home))


def _module(home: Path) -> str:
    return str(tomllib.loads((home / "config.toml").read_text())["hsm"]["module"])


def _pin(home: Path) -> str:
    return (home / "pin").read_text().strip()


def _environment(home: Path) -> dict[str, str]:
    return dict(os.environ) | {"SOFTHSM2_CONF": str(home / "softhsm" / "softhsm2.conf")}
