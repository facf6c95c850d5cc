"""A tour: a dozen real wheels are fetched, scanned, published and verified, and a tampered one is refused.

Run it with ``make demo``. Everything happens in ``.demo``: a development home of its own, a daemon on free ports, the
wheels. The verifier is python-tuf's own client, which starts with the trusted root 1 and nothing else.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from tuf.api.exceptions import RepositoryError
from tuf.ngclient import Updater

from wharfinger_client import Client, ClientSettings, Subject, Target, TlsIdentity

FOLDER = Path(".demo").absolute()
WHEELS = FOLDER / "wheels"
PROJECTS = [
    *("attrs", "certifi", "colorama", "filelock", "iniconfig", "packaging"),
    *("pluggy", "pygments", "six", "sniffio", "tomli", "urllib3"),
]
REPOSITORY = "development"
console = Console(highlight=False)


@dataclass
class Row:
    """What became of one wheel."""

    wheel: Path
    verdict: str = ""
    bin: str = ""
    verified: str = ""

    @property
    def path(self) -> str:
        return f"packages/demo/{self.wheel.name}"


def main() -> int:
    rows = [Row(wheel) for wheel in fetch_wheels()]
    with daemon_running() as home, connect(home) as client, progress() as bar:
        for row in bar.track(rows, description="Scanning  "):
            row.verdict = scan(client, row.wheel)
        for row in bar.track(rows, description="Publishing"):
            row.bin = publish(client, home, row)
        updater = verifier(home)
        for row in bar.track(rows, description="Verifying "):
            row.verified = verify(updater, row)
        bar.stop()
        show(rows)
        refused = show_tampering(home, rows[0])
    return 0 if refused and all(row.verified == "verified" for row in rows) else 1


def progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console)


def fetch_wheels() -> list[Path]:
    """A dozen wheels, by pip; kept for the next time."""
    if len(list(WHEELS.glob("*.whl"))) < len(PROJECTS):
        console.print(f"Fetching {len(PROJECTS)} wheels …")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-qq", "--no-deps"]
        subprocess.run([*command, "--only-binary=:all:", "--dest", str(WHEELS), *PROJECTS], check=True)
    return sorted(WHEELS.glob("*.whl"))


@contextmanager
def daemon_running() -> Iterator[Path]:
    """A fresh development home, and a daemon on it."""
    home = FOLDER / "home"
    shutil.rmtree(home, ignore_errors=True)
    console.print("Making a development home: certificates, a SoftHSM token, a root ceremony, a signed repository …")
    wharfinger = [sys.executable, "-m", "wharfinger_daemon"]
    subprocess.run([*wharfinger, "init", "--development", "--home", str(home)], check=True)
    use_free_ports(home / "config.toml")
    with (FOLDER / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [*wharfinger, "serve", "--config", str(home / "config.toml")], stdout=subprocess.PIPE, stderr=log
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        if not line:
            raise SystemExit(f"The daemon did not start; {FOLDER / 'daemon.log'} says why.")
        console.print(line)
        yield home
    finally:
        process.terminate()
        process.wait()


def use_free_ports(configuration: Path) -> None:
    def free(match: re.Match[str]) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f'"127.0.0.1:{probe.getsockname()[1]}"'

    configuration.write_text(re.sub(r'"127\.0\.0\.1:\d+"', free, configuration.read_text()))


def address(home: Path, section: str) -> str:
    match = re.search(rf'\[{section}\]\naddress = "([^"]+)"', (home / "config.toml").read_text())
    assert match is not None
    return match[1]


def connect(home: Path) -> Client:
    tls = home / "tls"
    identity = TlsIdentity(ca=tls / "ca.crt", certificate=tls / "warehouse.crt", key=tls / "warehouse.key")
    return Client(ClientSettings(address(home, "grpc"), identity))


def scan(client: Client, wheel: Path) -> str:
    project, version = wheel.name.split("-")[:2]
    subject = Subject.file(project=project, version=version, filename=wheel.name)
    found = client.scan_file(wheel, subject=subject).scan
    return f"{found.classification} ({found.confidence})" if found.classification else f"error: {found.error}"


def publish(client: Client, home: Path, row: Row) -> str:
    file = home / "targets" / row.path
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(row.wheel, file)
    client.publish_targets(REPOSITORY, add=[Target.from_file(row.path, row.wheel)])
    return client.get_target(REPOSITORY, row.path).role


def verifier(home: Path) -> Updater:
    """python-tuf's own client, with nothing but the trusted root."""
    base = f"http://{address(home, 'http')}"
    place = FOLDER / "verifier"
    shutil.rmtree(place, ignore_errors=True)
    for name in ("metadata", "targets"):
        (place / name).mkdir(parents=True)
    root = (home / "metadata" / "1.root.json").read_bytes()
    updater = Updater(
        str(place / "metadata"), f"{base}/metadata/", str(place / "targets"), f"{base}/targets/", bootstrap=root
    )
    updater.refresh()
    return updater


def verify(updater: Updater, row: Row) -> str:
    info = updater.get_targetinfo(row.path)
    if info is None:
        return "not in the metadata"
    return "verified" if Path(updater.download_target(info)).read_bytes() == row.wheel.read_bytes() else "differs"


def show(rows: list[Row]) -> None:
    table = Table("wheel", "bytes", "verdict", "listed in", "downloaded over HTTP", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            "-".join(row.wheel.name.split("-")[:2]), f"{row.wheel.stat().st_size:,}", row.verdict, row.bin, row.verified
        )
    console.print()
    console.print(table)


def show_tampering(home: Path, row: Row) -> bool:
    """Changes one byte of a published file, as a hostile mirror would; returns whether the client refused it."""
    file = home / "targets" / row.path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    updater = verifier(home)
    info = updater.get_targetinfo(row.path)
    assert info is not None
    console.print(f"\nOne byte of {row.wheel.name} was changed on the server.")
    try:
        updater.download_target(info)
    except RepositoryError as error:
        console.print(f"python-tuf refused it: {error}", style="green")
        return True
    console.print("It was accepted!", style="bold red")
    return False


sys.exit(main())
