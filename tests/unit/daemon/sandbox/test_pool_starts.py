"""How a pool starts, or does not; what workers do to it is in tests/security."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.daemon.scanning.archives.conftest import zip_of
from wharfinger_daemon.errors import Reason, StartupError, UnavailableError
from wharfinger_daemon.sandbox import CheckSource, Layer, SandboxPool, SandboxSettings, worker_process
from wharfinger_daemon.scanning.model import Subject, SubjectKind
from wharfinger_daemon.scanning.ports import Examiner
from wharfinger_daemon.scanning.registry import load_checks, rule_set_version

SUBJECT = Subject(kind=SubjectKind.FILE, project="sample", version="1", filename="sample-1-py3-none-any.whl")
ARTIFACT = zip_of(("../a.py", b"print()\n"))
SETTINGS = SandboxSettings()
QUICK = """
from wharfinger_daemon.scanning.plugin import FileCheck

class Quick(FileCheck):
    name = "quick"
    version = "1"
"""


@pytest.fixture
def quick(tmp_path: Path) -> SandboxSettings:
    """A check of its own in a file that tests may change."""
    (tmp_path / "quick_check.py").write_text(QUICK, encoding="utf-8")
    return SandboxSettings(checks=CheckSource(("quick_check:Quick",), (str(tmp_path),)))


@asynccontextmanager
async def running(settings: SandboxSettings) -> AsyncIterator[SandboxPool]:
    pool = SandboxPool(settings)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def test_the_built_in_checks_find_the_same_in_the_sandbox() -> None:
    """Nothing that they need is refused to them, neither on the first artifact nor on the next."""
    async with running(SandboxSettings(workers=2)) as pool:
        examiner: Examiner = pool
        assert rule_set_version(load_checks().checks) == examiner.rule_set
        assert 2 == len(pool.pids)
        assert () == pool.hello.load_failures
        assert pool.problem is None
        for _ in range(3):
            examination = await examiner.examine(io.BytesIO(ARTIFACT), SUBJECT)
            assert ["path-traversal"] == [finding.rule for finding in examination.findings]
            assert () == examination.unread


async def test_an_artifact_on_disk_is_read_through_its_descriptor(quick: SandboxSettings) -> None:
    async with running(quick) as pool:
        with tempfile.TemporaryFile() as artifact:
            artifact.write(ARTIFACT)
            examination = await pool.examine(artifact, SUBJECT)
    assert () == examination.unread


async def test_workers_are_replaced_after_their_jobs(quick: SandboxSettings) -> None:
    async with running(replace(quick, jobs_per_worker=2)) as pool:
        seen = []
        for _ in range(5):
            seen += pool.pids
            await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)
        assert 3 == len(set(seen) | set(pool.pids))


async def test_a_pool_that_was_not_started_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="not started"):
        _ = SandboxPool(SETTINGS).rule_set


async def test_a_layer_that_is_required_and_missing_stops_the_start(
    quick: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the layer and the kernel's reason."""
    monkeypatch.setattr(
        worker_process.protocol,  # type: ignore[attr-defined]
        "receive_async",
        lambda channel, decoder: _greeting(),
    )
    pool = SandboxPool(quick)
    with pytest.raises(StartupError, match=r"confined as required \(landlock: no; seccomp: not attempted\)") as error:
        await pool.start()
    assert Reason.SANDBOX_UNAVAILABLE == error.value.reason
    assert [] == pool.pids


async def _greeting() -> object:
    active = tuple(set(Layer) - {Layer.LANDLOCK, Layer.SECCOMP})
    return worker_process.protocol.Hello(  # type: ignore[attr-defined]
        rule_set="x", active=active, missing={Layer.LANDLOCK: "no"}, load_failures=()
    )


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('no such module')", "ended while it was starting: no such module"),
        ("pass", "it said nothing"),
        ("import time; time.sleep(60)", "did not start in time"),
        (
            "import sys, socket; s = socket.socket(fileno=int(sys.argv[-1])); s.recv(9999); s.sendall(b'\\xff' * 9)",
            "does not speak as it should",
        ),
    ],
)
async def test_a_program_that_is_no_worker(
    quick: SandboxSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, message: str
) -> None:
    interpreter = tmp_path / "interpreter"
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    interpreter.write_text(
        f'#!/bin/sh\nfor last in "$@"; do :; done\nexec {sys.executable} {tmp_path}/program.py "$last"\n',
        encoding="utf-8",
    )
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    with pytest.raises(StartupError, match=message):
        await SandboxPool(replace(quick, start_seconds=2.0)).start()


async def test_a_program_that_cannot_be_executed(quick: SandboxSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(StartupError, match="could not be executed"):
        await SandboxPool(quick).start()


async def test_checks_that_do_not_load_are_in_the_greeting(quick: SandboxSettings) -> None:
    checks = replace(quick.checks, classes=("quick_check:Quick", "quick_check:Missing"))
    async with running(replace(quick, checks=checks)) as pool:
        assert ["Missing"] == [failure.name for failure in pool.hello.load_failures]


async def test_a_built_in_check_that_does_not_load_stops_the_start(quick: SandboxSettings) -> None:
    checks = CheckSource(("wharfinger_daemon.checks.gone:Gone",))
    with pytest.raises(StartupError, match="refused to start: BuiltInCheckError"):
        await SandboxPool(replace(quick, checks=checks)).start()


async def test_an_unexpected_error_at_start_is_not_dressed_up(
    quick: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(worker_process, "_greeted", broken)
    with pytest.raises(ZeroDivisionError):
        await SandboxPool(quick).start()


async def test_no_worker_that_starts_is_unavailable_and_passes(
    quick: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing about the content; when workers start again, so do scans."""
    async with running(replace(quick, jobs_per_worker=1)) as pool:
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", "/nonexistent")
            await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)
            with pytest.raises(UnavailableError, match="could not be executed") as error:
                await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)
            assert Reason.SANDBOX_UNAVAILABLE == error.value.reason
            assert pool.problem is not None
            assert [] == pool.pids
            while pool._refilling:
                await asyncio.gather(*pool._refilling)
        await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)
        assert pool.problem is None


async def test_other_checks_than_at_the_start_are_not_used(quick: SandboxSettings, tmp_path: Path) -> None:
    """An upgrade beneath a running daemon must not mix two rule sets under one version."""
    async with running(replace(quick, jobs_per_worker=1)) as pool:
        (tmp_path / "quick_check.py").write_text(QUICK.replace('"1"', '"1 point 1"'), encoding="utf-8")
        await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)
        with pytest.raises(UnavailableError, match="have changed"):
            await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)


async def test_an_artifact_that_cannot_be_handed_over_is_unavailable(quick: SandboxSettings) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    async with running(quick) as pool:
        with pytest.raises(UnavailableError, match="Input/output error"):
            await pool.examine(Broken(), SUBJECT)
        assert 1 == len(pool.pids)


async def test_an_artifact_that_a_worker_cannot_read_is_unavailable(
    quick: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing disk says nothing about the content."""

    async def failing(*arguments: object) -> None:
        raise worker_process.JobFailedError("The disk fails.", by_content=False)

    async with running(quick) as pool:
        with monkeypatch.context() as broken:
            broken.setattr(worker_process.WorkerProcess, "examine", failing)
            with pytest.raises(UnavailableError, match="The disk fails"):
                await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)
        await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)


async def test_a_slot_is_never_lost(quick: SandboxSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when a worker's replacement fails in a way that nobody thought of."""

    async def broken(*arguments: object) -> object:
        raise ZeroDivisionError

    async with running(replace(quick, jobs_per_worker=1)) as pool:
        with monkeypatch.context() as context:
            context.setattr(worker_process, "_greeted", broken)
            await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)
            await asyncio.gather(*pool._refilling)
        await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)


async def test_closing_twice_and_while_a_worker_is_being_started(quick: SandboxSettings) -> None:
    pool = SandboxPool(replace(quick, jobs_per_worker=1))
    await pool.start()
    await pool.examine(io.BytesIO(ARTIFACT), SUBJECT)
    await pool.close()
    await pool.close()
    assert [] == pool.pids


@pytest.mark.parametrize("readable", [True, False])
async def test_cancelling_the_handing_over_closes_what_was_opened(quick: SandboxSettings, readable: bool) -> None:
    going_on = threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            going_on.wait(20)
            if not readable:
                raise OSError(5, "Input/output error")
            return super().read(size)

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with running(quick) as pool:
        await asyncio.to_thread(lambda: None)
        before = descriptors()
        job = asyncio.create_task(pool.examine(Slow(ARTIFACT), SUBJECT))
        await asyncio.sleep(0.01)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        going_on.set()
        async with asyncio.timeout(20):
            while descriptors() != before:
                await asyncio.sleep(0.01)
        assert 1 == len(pool.pids)
