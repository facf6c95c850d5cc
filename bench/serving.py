"""Serving: requests a second of ``timestamp.json`` and of a bin, from the daemon, through Varnish, and from nginx.

nginx reads the same files from the same directory, with one worker, as the daemon has one process: the floor. Each is
asked by ``wrk`` over kept connections, one after the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.table import Table, best_rates
from tests.support.daemon_process import DaemonProcess, free_port, place_home, poll, run_cli
from tests.support.varnish_process import VarnishProcess
from wharfinger_client import Target

_TARGETS = 4 * 1_221  # In four bins, so many as each bin of 20 million targets in 16,384 has.
_CONNECTIONS = 32
_SECONDS = 4
_NGINX = """
worker_processes 1; daemon off; pid {place}/pid; error_log {place}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
uwsgi_temp_path {place}; scgi_temp_path {place}; sendfile on; etag on;
server {{ listen 127.0.0.1:{port}; location /metadata/ {{ alias {metadata}/; }} }} }}
"""


def run(rounds: int) -> Table:
    """Measures, and returns requests a second."""
    with tempfile.TemporaryDirectory(prefix="wharfinger-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker is another user.
        daemon = stack.enter_context(_daemon(folder))
        varnish = VarnishProcess(folder / "v", daemon.ports["http"])
        stack.callback(varnish.kill)
        varnish.start()
        nginx = stack.enter_context(_nginx(folder / "nginx", daemon.home / "metadata"))
        places = {
            "nginx": f"http://127.0.0.1:{nginx}/metadata/",
            "Varnish before the daemon": f"{varnish.url}/metadata/",
            "the daemon": daemon.metadata_url,
        }
        size = (daemon.home / "metadata" / "2.bins-0.json").stat().st_size
        files = {"timestamp.json": "timestamp.json", f"a bin of {size / 1000:.0f} kB": "2.bins-0.json"}
        rates = best_rates(
            {
                f"{what}, {who}": lambda url=url, file=file: _requests(url + file)  # type: ignore[misc]
                for what, file in files.items()
                for who, url in places.items()
            },
            rounds,
        )
        hits, misses = (varnish.counters()[f"MAIN.cache_{what}"] for what in ("hit", "miss"))
    table = Table("Serving metadata, over 32 kept connections of wrk on the same two cores", "requests", rates)
    table.notes.append(f"Varnish: {hits:,} hits, {misses:,} misses")
    return table


@contextlib.contextmanager
def _daemon(folder: Path) -> Iterator[DaemonProcess]:
    pristine = folder / "pristine"
    made = run_cli("init", "--development", "--home", str(pristine), "--bins", "4")
    assert made.returncode == 0, made.stderr
    home = folder / "home"
    daemon = DaemonProcess(home, place_home(pristine, home))
    daemon.start()
    try:
        with daemon.client() as client:
            client.publish_targets("development", add=list(_targets()), timeout=300)
        yield daemon
    finally:
        daemon.kill()


def _targets() -> Iterator[Target]:
    for number in range(_TARGETS):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/some_project-1.{number}-py3-none-any.whl"
        yield Target(path, 123_456, {"sha256": digest})


@contextlib.contextmanager
def _nginx(place: Path, metadata: Path) -> Iterator[int]:
    place.mkdir()
    place.chmod(0o777)  # Of another user, and gone in a minute.
    for folder in (metadata.parent, metadata):
        folder.chmod(0o755)
    port = free_port()
    configuration = place / "nginx.conf"
    configuration.write_text(_NGINX.format(place=place, port=port, metadata=metadata))
    with subprocess.Popen([_program("nginx"), "-c", str(configuration)]) as process:
        try:
            poll(lambda: (place / "pid").exists() and bool((place / "pid").read_text().strip()), "nginx runs")
            yield port
        finally:
            process.terminate()


def _requests(url: str) -> float:
    """Requests a second that were answered with 200."""
    said = subprocess.run(
        [_program("wrk"), "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS}s", url], capture_output=True, text=True, check=True
    ).stdout
    assert "Non-2xx" not in said, said
    rate = re.search(r"Requests/sec:\s*([\d.]+)", said)
    assert rate is not None, said
    return float(rate[1])


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    assert found is not None, f"{name} is missing; deploy/debian-packages bench installs it"
    return found
