"""A server that speaks S3 over HTTP: moto's, as a process. It keeps what it is told in memory, and obeys conditions."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import urllib.request
from typing import Self

from tests.support.daemon_process import free_port, poll
from wharfinger_daemon.storage.bucket_objects import Bucket, client_of

_numbers = itertools.count(1)


class ObjectStorage:
    """A context within which the server runs."""

    def __init__(self) -> None:
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        poll(self._answers, "the object storage answers")
        return self

    def __exit__(self, *raised: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """It answers nobody any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def new_bucket(self) -> Bucket:
        """An empty bucket."""
        bucket = Bucket(f"bucket-{next(_numbers)}", self.url, "us-east-1", "access", "secret", "m/", beat_seconds=0.1)
        client = client_of(bucket)
        client.create_bucket(Bucket=bucket.name)
        client.close()
        return bucket

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as reply:
                return bool(reply.status)
        except OSError:
            return False
