"""`p11-kit server`, which makes a module on one side of a socket a token on the other: a network HSM to kill."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from wharfinger_hsm.model import TokenSettings

CLIENT_MODULES = (
    Path("/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"),
    Path("/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so"),
    Path("/usr/lib64/pkcs11/p11-kit-client.so"),
)


class P11KitServer:
    """Serves all tokens of a module. `directory` must have a short path: it holds a socket.

    The server forks for each connection, and each child is a PKCS#11 application of its own.
    """

    def __init__(self, directory: Path, module: Path, environment: Mapping[str, str]) -> None:
        self._socket = directory / "p11-kit.socket"
        self._module = module
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client_module(self) -> Path:
        return next(path for path in CLIENT_MODULES if path.exists())

    @property
    def client_environment(self) -> dict[str, str]:
        return {"P11_KIT_SERVER_ADDRESS": f"unix:path={self._socket}"}

    def in_front_of(self, settings: TokenSettings) -> TokenSettings:
        """The same token, reached over the socket."""
        return replace(settings, module=self.client_module, environment=self.client_environment)

    def start(self) -> None:
        """Returns when the server listens."""
        with suppress(FileNotFoundError):
            self._socket.unlink()
        self._process = subprocess.Popen(
            ["p11-kit", "server", "--foreground", "--name", self._socket, "--provider", self._module, "pkcs11:"],
            env={**os.environ, **self._environment},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 20
        while not self._socket.exists():
            assert self._process.poll() is None, "p11-kit server ended."
            assert time.monotonic() < deadline, "p11-kit server does not listen."
            time.sleep(0.01)

    def kill(self) -> None:
        """kill -9, of the server and of its children: all connections break. Harmless when it does not run."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Connections stay, and nothing answers: what a network does when it loses packets."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)
