"""A PostgreSQL server of one's own: a cluster in a temporary folder, on a Unix socket, with fsync on."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.support.daemon_process import descendants, free_port, poll
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.migrate import upgrade

_TEMPLATE = "wharfinger_template"


def _programs() -> Path:
    """Debian keeps them out of the path, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not found:
        raise AssertionError("PostgreSQL is missing: run deploy/debian-packages test")
    return found[-1].parent


def _drop_privileges() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    postgres = pwd.getpwnam("postgres")
    return {"user": postgres.pw_uid, "group": postgres.pw_gid, "extra_groups": []}


@dataclass
class PostgresqlCluster:
    """The server. Its only user that may log in without a password is ``wharfinger``, through the socket.

    Attributes:
        port: on 127.0.0.1, where a password is demanded.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _databases: int = 0

    def create(self) -> None:
        """Makes the cluster, which does not run yet."""
        privileges = _drop_privileges()
        if privileges:
            os.chown(self.folder, privileges["user"], privileges["group"])  # type: ignore[arg-type]
        self._call("initdb", "--username=wharfinger", "--auth-local=trust", "--auth-host=scram-sha-256",
                   "--encoding=UTF8", "--locale=C.UTF-8", f"--pgdata={self._state}")  # fmt: skip

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(_programs() / "postgres"),
                    *("-D", str(self._state)),
                    *("-k", str(self.folder)),
                    *("-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1"),
                    *("-c", "shared_buffers=16MB"),
                    *("-c", "max_connections=200"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_drop_privileges(),  # type: ignore[call-overload]
            )
        poll(self._answers, "PostgreSQL answers")

    def stop(self) -> None:
        """Ends all connections, and the server in order."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of the server and of its processes, as a failure of power would."""
        assert self.process is not None
        # The server's processes have sessions of their own, and the memory that they share outlives it.
        children = descendants(self.process.pid)
        self._end(signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        poll(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "PostgreSQL's processes are gone")

    def url(self, name: str) -> str:
        """Of a database, through the socket."""
        return f"postgresql+psycopg://wharfinger@/{name}?host={quote(str(self.folder), safe='')}&port={self.port}"

    def connect(self, name: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the test's own, which commits each statement."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user="wharfinger", dbname=name, autocommit=True, connect_timeout=10
        )

    def new_database(self, *, upgraded: bool = True) -> str:
        """Makes a database; returns its name.

        Args:
            upgraded: whether it has all tables already.
        """
        with contextlib.closing(self.connect()) as connection:
            if (
                upgraded
                and not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_TEMPLATE,)).fetchone()
            ):
                connection.execute(f"CREATE DATABASE {_TEMPLATE}")
                with contextlib.closing(Database(self.url(_TEMPLATE))) as template:
                    upgrade(template)
            self._databases += 1
            name = f"test_{self._databases}"
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if upgraded else 'template0'}")
        return name

    def new_url(self, *, upgraded: bool = True) -> str:
        """Of a database that nobody else uses."""
        return self.url(self.new_database(upgraded=upgraded))

    @property
    def _state(self) -> Path:
        return self.folder / "state"

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()
            return False
        return True

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(_programs() / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **_drop_privileges(),  # type: ignore[call-overload]
        )

    def _end(self, number: int) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        self.process.wait(60)


@contextlib.contextmanager
def running_cluster() -> Iterator[PostgresqlCluster]:
    """A cluster that runs, and goes with all that it holds."""
    # The path of a socket may have about a hundred characters; pytest's folders are private and too long.
    folder = Path(tempfile.mkdtemp(prefix="wharfinger-postgresql-"))
    cluster = PostgresqlCluster(folder)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        if cluster.process is not None:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
