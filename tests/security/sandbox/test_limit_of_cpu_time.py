"""The kernel ends a worker that computes for too long, whatever has become of its deadlines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

_PROGRAM = """
import signal
from wharfinger_daemon.sandbox.process_isolation import limit_resources
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
limit_resources(memory_bytes=1 << 30, cpu_seconds=1)
print("limited", flush=True)
while True:
    pass
"""


def test_a_loop_that_ignores_every_signal_is_killed() -> None:
    """At the hard limit the signal is SIGKILL, which nothing can ignore."""
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, timeout=120, env=environment)
    assert (b"limited\n", -signal.SIGKILL) == (done.stdout, done.returncode)
