"""Signals at any moment, a start that fails half way, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.daemon_process import DaemonProcess, poll, run_cli
from wharfinger.scan.v1 import scan_pb2, scan_pb2_grpc

DRAIN_SECONDS = 30  # The default: whatever ends much sooner did not wait for it.


def channel(daemon: DaemonProcess) -> grpc.Channel:
    tls = daemon.home / "tls"
    files = [(tls / name).read_bytes() for name in ("ca.crt", "warehouse.key", "warehouse.crt")]
    return grpc.secure_channel(f"127.0.0.1:{daemon.ports['grpc']}", grpc.ssl_channel_credentials(*files))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def readiness(daemon: DaemonProcess) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['http']}/readyz") as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_it_in_order(home: DaemonProcess, number: signal.Signals) -> None:
    """The token hangs, here because nobody writes to the FIFO that is its PIN file: the start would take long."""
    (home.home / "pin").unlink()
    os.mkfifo(home.home / "pin", 0o600)
    home.start(wait=False)
    assert home.process is not None and home.process.stdout is not None
    poll(lambda: bool(home.children()["hsm"]), "a worker starts")
    # Its handlers stand long before the first worker does.
    (worker,) = home.children()["hsm"]
    home.process.send_signal(number)
    assert 0 == home.process.wait(20)
    assert b"" == home.process.stdout.read()
    home.process.stdout.close()
    poll(lambda: gone(worker), "the worker ends")
    assert "stopped before it was ready" in home.log()


def test_a_start_that_fails_after_its_workers_leaves_no_process(home: DaemonProcess) -> None:
    import socket

    with socket.create_server(("127.0.0.1", home.ports["administration_http"])):
        home.start(wait=False)
        process, seen = home.process, set()
        assert process is not None and process.stdout is not None
        while process.poll() is None:
            try:
                workers = home.children()
            except OSError:
                continue  # It ended meanwhile.
            seen |= {(kind, pid) for kind, pids in workers.items() for pid in pids}
        process.stdout.close()
    assert (2, {"hsm", "scan"}) == (process.returncode, {kind for kind, _ in seen})
    for _, pid in seen:
        poll(lambda pid=pid: gone(pid), f"worker {pid} ends")  # type: ignore[misc]
    home.start()
    assert 0 == home.stop()


def test_a_watch_of_health_does_not_delay_the_end(daemon: DaemonProcess) -> None:
    """It never ends by itself; the daemon says NOT_SERVING on it, and goes."""
    with channel(daemon) as open_channel:
        watch = health_pb2_grpc.HealthStub(open_channel).Watch(health_pb2.HealthCheckRequest())
        assert health_pb2.HealthCheckResponse.SERVING == next(watch).status
        began = time.monotonic()
        assert 0 == daemon.stop()
        assert time.monotonic() - began < DRAIN_SECONDS / 2
        assert health_pb2.HealthCheckResponse.NOT_SERVING == next(watch).status


@pytest.fixture
def endless_call(daemon: DaemonProcess) -> Iterator[grpc.Channel]:
    """A scan whose caller never sends all of its bytes."""
    never = threading.Event()

    def requests() -> Iterator[scan_pb2.ScanRequest]:
        subject = scan_pb2.Subject(kind=scan_pb2.SUBJECT_KIND_FILE, project="a", version="1", filename="a-1.tar.gz")
        yield scan_pb2.ScanRequest(header=scan_pb2.ScanHeader(subject=subject))
        never.wait()

    with channel(daemon) as open_channel:
        call = scan_pb2_grpc.ScanServiceStub(open_channel).Scan.future(requests(), timeout=120)
        poll(lambda: "rpcs_running 1.0" in metrics(daemon), "the call runs")
        yield open_channel
        never.set()
        call.cancel()


def metrics(daemon: DaemonProcess) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['administration_http']}/metrics") as response:
        return str(response.read().decode())


def test_a_daemon_that_drains_says_so_and_a_second_signal_ends_it(
    daemon: DaemonProcess, endless_call: grpc.Channel
) -> None:
    assert daemon.process is not None and daemon.process.stdout is not None
    workers = daemon.children()
    daemon.process.send_signal(signal.SIGTERM)
    poll(lambda: readiness(daemon)[0] == 503, "it is not ready any more")
    assert "shutting down" in readiness(daemon)[1]["problems"][0]
    health = health_pb2_grpc.HealthStub(endless_call).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert health_pb2.HealthCheckResponse.NOT_SERVING == health.status
    assert daemon.process.poll() is None
    daemon.process.send_signal(signal.SIGTERM)
    assert -signal.SIGTERM == daemon.process.wait(5)
    daemon.process.stdout.close()
    for pid in workers["hsm"] + workers["scan"]:
        poll(lambda pid=pid: gone(pid), f"worker {pid} ends")  # type: ignore[misc]


def test_a_call_that_never_ends_is_cut_off_when_the_time_to_drain_is_over(home: DaemonProcess) -> None:
    configuration = home.home / "config.toml"
    configuration.write_text(configuration.read_text().replace("[grpc]\n", "[grpc]\ndrain_seconds = 0.5\n", 1))
    home.start()
    with channel(home) as open_channel:
        never = threading.Event()
        call = scan_pb2_grpc.ScanServiceStub(open_channel).Scan.future((never.wait() for _ in range(1)), timeout=120)
        poll(lambda: "rpcs_running 1.0" in metrics(home), "the call runs")
        assert 0 == home.stop()
        assert call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        never.set()


def test_a_daemon_lives_on_when_nobody_reads_its_output(home: DaemonProcess) -> None:
    home.start(wait=False)
    assert home.process is not None and home.process.stdout is not None
    home.process.stdout.close()

    def ready() -> bool:
        try:
            return readiness(home)[0] == 200
        except OSError:
            return False

    poll(ready, "it is ready")
    assert 0 == home.stop()


# ---- What asks it from outside ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("answer", [b"[]", b"{}", b"null", b'{"ready": 1, "problems": 2}', b"<html>"])
def test_health_is_not_fooled_by_another_server_on_the_port(home: DaemonProcess, answer: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", home.ports["http"]), Other) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        result = run_cli("health", "--json", "--config", str(home.home / "config.toml"))
        thread.join()
    assert (2, False) == (result.returncode, json.loads(result.stdout)["ready"])
    assert "Traceback" not in result.stderr


def test_config_check_says_which_file_is_out_of_reach(home: DaemonProcess) -> None:
    configuration = home.home / "config.toml"
    configuration.write_text(configuration.read_text().replace('pin_file = "pin"', 'pin_file = "config.toml/pin"'))
    result = run_cli("config", "check", "--config", str(configuration))
    assert (1, True) == (result.returncode, "Not a directory" in result.stderr)


def test_an_unforeseen_error_of_a_command_does_not_end_with_1() -> None:
    """Status 1 says that something was found, such as a threat."""
    program = (
        "import wharfinger_daemon.cli.checks as c; c.load_checks = lambda: 1 / 0\n"
        "from wharfinger_daemon.cli import main; main(['checks', 'list'])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (2, True) == (result.returncode, "ZeroDivisionError" in result.stderr)
