"""A real Varnish with the rules of ``deploy/varnish``, in front of a daemon."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError

from tests.support.daemon_process import free_port, poll

RULES = Path(__file__).parents[2] / "deploy" / "varnish" / "default.vcl"


@dataclass
class VarnishProcess:
    """``varnishd`` in the foreground, in a folder of its own.

    Attributes:
        place: an empty folder with a short name: Varnish makes sockets there.
        backend_port: where the daemon serves HTTP.
    """

    place: Path
    backend_port: int
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        rules = self.place / "rules.vcl"
        rules.write_text(RULES.read_text().replace('.port = "8080"', f'.port = "{self.backend_port}"'))
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    _program("varnishd"),
                    *("-F", "-j", "none", "-T", "none", "-n", str(self.place / "n")),
                    *("-f", str(rules), "-a", self.address, "-s", "malloc,64m", "-p", "thread_pool_min=10"),
                ],
                stdout=log,
                stderr=log,
            )
        poll(self._answers, "Varnish answers")

    def kill(self) -> None:
        """kill -9 of the whole: what it kept is gone."""
        if self.process is None or self.process.poll() is not None:
            return
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        self.process.wait(30)
        for child in children:  # It ends by itself when its parent is gone; until then it keeps the port.
            poll(lambda pid=child: not _runs(pid), f"Varnish's child {child} is gone")  # type: ignore[misc]

    def counters(self) -> dict[str, int]:
        """Varnish's own counters, by name."""
        said = subprocess.run(
            [_program("varnishstat"), "-n", str(self.place / "n"), "-1", "-j"], capture_output=True, check=True
        )
        counters = json.loads(said.stdout)["counters"]
        return {name: int(counter["value"]) for name, counter in counters.items()}

    def _answers(self) -> bool:
        assert self.process is not None
        log = (self.place / "log").read_text(errors="replace")
        assert self.process.poll() is None, f"Varnish did not start: {log}"
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as reply:
                return bool(reply.status)
        except HTTPError as error:
            error.close()
            return True
        except (URLError, OSError):
            return False


def _runs(pid: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return re.search(r"^State:\s+Z", status, re.MULTILINE) is None


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    assert found is not None, f"{name} is missing; deploy/debian-packages test installs it"
    return found
