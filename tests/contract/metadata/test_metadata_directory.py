"""What the directory does beyond the contract of stores."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wharfinger_daemon.errors import Reason, StartupError, UnavailableError
from wharfinger_daemon.metadata.ports import VersionedFile
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory


async def test_files_have_the_names_that_clients_ask_for(tmp_path: Path) -> None:
    store = MetadataDirectory(tmp_path)
    await store.add([VersionedFile("bins-0", 12, b"bin")])
    await store.replace_timestamp(b"timestamp", replacing=None)
    assert {"12.bins-0.json": b"bin", "timestamp.json": b"timestamp"} == {
        file.name: file.read_bytes() for file in tmp_path.iterdir()
    }
    assert 0o644 == (tmp_path / "timestamp.json").stat().st_mode & 0o777


async def test_another_open_directory_is_kept_out(tmp_path: Path) -> None:
    first, second = MetadataDirectory(tmp_path), MetadataDirectory(tmp_path)
    await first.lock()
    with pytest.raises(StartupError) as refused:
        await second.lock()
    assert Reason.PUBLISHER_RUNNING == refused.value.reason
    await first.unlock()
    await second.lock()
    await second.unlock()


async def test_another_process_is_kept_out_until_it_is_gone(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from wharfinger_daemon.storage.metadata_directory import MetadataDirectory\n"
        "store = MetadataDirectory(Path(sys.argv[1])); asyncio.run(store.lock()); print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert b"locked\n" == other.stdout.readline()
        store = MetadataDirectory(tmp_path)
        with pytest.raises(StartupError):
            await store.lock()
        other.kill()
    await store.lock()
    await store.unlock()


class Paused:
    """Another process that holds the lock of a directory, and stands still in the middle of a write."""

    PROGRAM = (
        "import asyncio, os, signal, sys, threading; from pathlib import Path\n"
        "from wharfinger_daemon.metadata.ports import VersionedFile\n"
        "from wharfinger_daemon.storage.metadata_directory import MetadataDirectory\n"
        "name, function = sys.argv[2], getattr(os, sys.argv[2])\n"
        "async def main():\n"
        "    store = MetadataDirectory(Path(sys.argv[1])); await store.lock()\n"
        "    def stop(*arguments, **options):\n"
        "        print('stops', flush=True); signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)\n"
        "        return function(*arguments, **options)\n"
        "    setattr(os, name, stop)\n"
        "    try:\n"
        "        if name == 'link': await store.add([VersionedFile('bins-0', 2, b'late')])\n"
        "        elif name == 'unlink': await store.stage(None)\n"
        "        else: await store.replace_timestamp(b'late', replacing=b'1')\n"
        "    except Exception as error: print(error.reason, flush=True)\n"
        "    else: print('done', flush=True)\n"
        "asyncio.run(main())\n"
    )

    def __init__(self, directory: Path, function: str) -> None:
        command = [sys.executable, "-c", self.PROGRAM, str(directory), function]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        assert b"stops\n" == self._output.readline()

    def goes_on(self) -> str:
        """What comes of its write when it wakes."""
        self._process.send_signal(signal.SIGCONT)
        told = self._output.read().decode().replace("stops\n", "").strip()
        self._output.close()
        self._process.wait()
        return told


@pytest.mark.parametrize("function", ["link", "rename", "fsync"])
async def test_publisher_that_stands_still_loses_its_place_and_changes_nothing_when_it_wakes(
    tmp_path: Path, function: str
) -> None:
    before = MetadataDirectory(tmp_path)
    await before.replace_timestamp(b"1", replacing=None)
    paused = Paused(tmp_path, function)
    store = MetadataDirectory(tmp_path)
    await store.lock()
    await store.add([VersionedFile("bins-0", 1, b"in time")])
    await store.replace_timestamp(b"2", replacing=b"1")
    assert Reason.FENCED == paused.goes_on()
    assert [b"2", b"in time", None] == await store.read_all([("timestamp", 0), ("bins-0", 1), ("bins-0", 2)])
    await store.add([VersionedFile("bins-0", 2, b"the next")])
    await store.unlock()


async def test_staged_note_of_the_next_publisher_survives_the_one_that_wakes(tmp_path: Path) -> None:
    await MetadataDirectory(tmp_path).stage(b"of the first")
    paused = Paused(tmp_path, "unlink")
    store = MetadataDirectory(tmp_path)
    await store.lock()
    await store.stage(b"of the next")
    assert Reason.FENCED == paused.goes_on()
    assert b"of the next" == await store.staged()
    await store.unlock()


async def test_what_a_killed_publisher_left_half_written_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / ".2.bins-0.json.0123456789abcdef.unfinished"
    leftover.write_bytes(b"half")
    (tmp_path / ".other").touch()
    (tmp_path / "1.root.json").touch()
    store = MetadataDirectory(tmp_path)
    await store.lock()
    await store.unlock()
    locks = {".publisher", ".publisher-taking"}
    assert {".other", "1.root.json"} == {file.name for file in tmp_path.iterdir()} - locks


async def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    directory = tmp_path / "metadata"
    directory.mkdir()
    (directory / "1.root.json").symlink_to(tmp_path / "secret")
    assert await MetadataDirectory(directory).read("root", 1) is None


async def test_a_missing_directory_is_unavailable(tmp_path: Path) -> None:
    store = MetadataDirectory(tmp_path / "missing")
    for call in (store.read("root", 1), store.add([]), store.replace_timestamp(b"", replacing=None), store.lock()):
        with pytest.raises(UnavailableError) as refused:
            await call
        assert Reason.STORE_UNAVAILABLE == refused.value.reason


async def test_what_is_no_file_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "1.root.json").mkdir()
    os.mkfifo(tmp_path / "2.root.json")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "3.root.json"))
    store = MetadataDirectory(tmp_path)
    for version in (1, 3):
        with pytest.raises(UnavailableError):
            await store.read("root", version)
    assert b"" == await store.read("root", 2)


async def test_a_lock_that_the_file_system_cannot_give_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(UnavailableError) as refused:
        await MetadataDirectory(tmp_path).lock()
    assert "No locks available" in refused.value.message


async def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    store = MetadataDirectory(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(UnavailableError) as refused:
            await store.add([VersionedFile("bins-0", 1, b"content")])
    assert "No space left" in refused.value.message
    assert [] == list(tmp_path.iterdir())


async def test_a_lock_that_cannot_clean_up_lets_go(tmp_path: Path) -> None:
    obstacle = tmp_path / ".directory.unfinished"
    obstacle.mkdir()
    store = MetadataDirectory(tmp_path)
    with pytest.raises(UnavailableError):
        await store.lock()
    obstacle.rmdir()
    await store.lock()
    await store.unlock()
