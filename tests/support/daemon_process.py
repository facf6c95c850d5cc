"""A real daemon as a process, and what looks at it from outside: the client, and python-tuf's own client."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tuf.ngclient import Updater, UpdaterConfig

from wharfinger_client import Client, ClientSettings, TlsIdentity

START_SECONDS = 90


def _ports() -> Iterator[int]:
    # Below those that the kernel gives to outgoing connections, and other ones for each worker of pytest-xdist.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 12_000 + 2_500 * (worker % 8)
    begin = secrets.randbelow(2_500)  # Somebody else may run these tests at the same time.
    yield from (first + (begin + number) % 2_500 for number in itertools.count())


_PORTS = _ports()


def free_port() -> int:
    """A port that nobody listens on, and that is not handed out again soon."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports go round for ever")


def poll(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in {seconds} s: {what}")
        time.sleep(0.05)


@dataclass
class DaemonProcess:
    """``wharfinger serve`` on a home."""

    home: Path
    ports: dict[str, int]
    process: subprocess.Popen[bytes] | None = None
    configuration: str = "config.toml"
    log_path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log_path = self.home / f"{self.configuration.replace('config.toml', 'log')}.jsonl"

    def start(self, *, wait: bool = True) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wharfinger_daemon", "serve", "--config", str(self.home / self.configuration)],
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline().decode() if ready else ""
        assert line.startswith("wharfinger is ready"), f"the daemon did not start: {self.log()[-3000:]}"

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """kill -9, of the daemon alone: its workers must notice by themselves."""
        assert self.process is not None
        self.process.kill()
        self.ended()

    def ended(self) -> int:
        """Waits for the end; returns the exit status."""
        assert self.process is not None
        status = self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def log(self) -> str:
        return self.log_path.read_text()

    def log_events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def client(self, name: str = "warehouse", **settings: object) -> Client:
        tls = self.home / "tls"
        identity = TlsIdentity(ca=tls / "ca.crt", certificate=tls / f"{name}.crt", key=tls / f"{name}.key")
        return Client(ClientSettings(f"127.0.0.1:{self.ports['grpc']}", identity, **settings))  # type: ignore[arg-type]

    def updater(self, place: Path) -> Updater:
        """python-tuf's own client, which knows the trusted root 1 and nothing else."""
        (place / "metadata").mkdir(parents=True, exist_ok=True)
        (place / "targets").mkdir(exist_ok=True)
        return Updater(
            str(place / "metadata"),
            self.metadata_url,
            str(place / "targets"),
            self.targets_url,
            config=UpdaterConfig(),
            bootstrap=(self.home / "metadata" / "1.root.json").read_bytes(),
        )

    @property
    def metadata_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}/metadata/"

    @property
    def targets_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}/targets/"

    def children(self) -> dict[str, list[int]]:
        """Process ids of the workers, by kind."""
        assert self.process is not None
        found: dict[str, list[int]] = {"hsm": [], "scan": []}
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"wharfinger_hsm.worker" in command:
                    found["hsm"].append(pid)
                elif b"wharfinger_daemon.sandbox" in command:
                    found["scan"].append(pid)
        return found


def descendants(pid: int) -> list[int]:
    """All processes that a process began, and theirs."""
    direct = []
    with contextlib.suppress(OSError):  # It may end meanwhile.
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                direct += [int(child) for child in (task / "children").read_text().split()]
    return direct + [grandchild for child in direct for grandchild in descendants(child)]


def run_cli(*arguments: str, home: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if home is not None:
        environment["WHARFINGER_HOME"] = str(home)
    return subprocess.run(
        [sys.executable, "-m", "wharfinger_daemon", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment,
        **options,  # type: ignore[call-overload]
    )


def place_home(pristine: Path, home: Path) -> dict[str, int]:
    """Copies a home, and gives the copy its own paths and free ports."""
    shutil.copytree(pristine, home)
    for file in (home / "config.toml", home / "softhsm" / "softhsm2.conf"):
        file.write_text(file.read_text().replace(str(pristine), str(home)))
    ports = {name: free_port() for name in ("grpc", "http", "administration_grpc", "administration_http")}
    configuration = (home / "config.toml").read_text()
    for name, default in (
        ("grpc", 50051),
        ("http", 8080),
        ("administration_grpc", 50052),
        ("administration_http", 8081),
    ):
        configuration = re.sub(rf"127\.0\.0\.1:{default}\b", f"127.0.0.1:{ports[name]}", configuration)
    (home / "config.toml").write_text(configuration)
    return ports
