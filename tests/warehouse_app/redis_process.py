"""A Redis server of one's own, which keeps what it was told when it is stopped."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.daemon_process import free_port, poll


@dataclass
class RedisProcess:
    """``redis-server`` on loopback, with an append-only file in a folder."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None, "Redis is missing: run deploy/debian-packages test"
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": "",
        }
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, *(word for name, value in options.items() for word in (f"--{name}", value))],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        poll(self._answers, "Redis answers")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"
        return False
