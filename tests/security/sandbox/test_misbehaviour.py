"""What hostile content costs: itself, and nobody else's scan."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.sandbox.conftest import MIB, SUBJECT, OpenPool, sdist
from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.sandbox import SandboxPool
from wharfinger_daemon.scanning.model import Examination
from wharfinger_daemon.scanning.ports import ContentFailure

HOSTILE = b"misbehave"


async def _good(pool: SandboxPool) -> Examination:
    examination = await pool.examine(sdist(), SUBJECT)
    assert ["saw"] == [finding.rule for finding in examination.findings]
    assert () == examination.unread
    return examination


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def _is_asleep(pid: int) -> bool:
    """Whether the worker has begun the job: it ignores SIGALRM from then on."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    return bool(ignored & 1 << (signal.SIGALRM - 1))


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("check", ["EndlessLoop", "MemoryHog"])
async def test_a_check_that_takes_too_much_loses_only_its_own_findings(open_pool: OpenPool, check: str) -> None:
    """The part that it did not see is unread, the worker stays, and the next artifact is examined."""
    pool = await open_pool(check)
    workers = pool.pids
    examination = await pool.examine(sdist(HOSTILE), SUBJECT)
    assert ["sample-1.0/setup.py"] == [unread.member for unread in examination.unread]
    await _good(pool)
    assert workers == pool.pids


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ("StubbornLoop", "time-out"),
        ("NativeMemoryHog", "crashed"),
        ("Suicide", "killed"),
        ("Exit", "crashed"),
        ("Liar", "protocol-violation"),
        ("LongWindedLiar", "protocol-violation"),
    ],
)
async def test_content_that_ends_two_workers_is_named_and_the_next_job_works(
    open_pool: OpenPool, check: str, why: str
) -> None:
    """The first failure is tried again in a fresh worker; the second is the content's."""
    pool = await open_pool(check, job_seconds=1.5)
    with pytest.raises(ContentFailure) as failure:
        await pool.examine(sdist(HOSTILE), SUBJECT)
    assert why == failure.value.why
    await _good(pool)


async def test_an_artifact_that_needs_more_memory_than_there_is(open_pool: OpenPool) -> None:
    """Opening it fails, twice, and the content is the cause."""
    artifact = io.BytesIO()
    with zipfile.ZipFile(artifact, "w") as archive:
        archive.writestr("large", bytes(80 * MIB))
    pool = await open_pool("Sleeper", memory_bytes=64 * MIB)
    with pytest.raises(ContentFailure) as failure:
        await pool.examine(artifact, SUBJECT)
    assert "out-of-memory" == failure.value.why
    await _good(pool)


async def test_a_worker_killed_once_costs_nothing(open_pool: OpenPool) -> None:
    """A kill from outside is survived by trying again, and only the second kill ends the job."""
    pool = await open_pool("Sleeper", job_seconds=60.0)
    (first,) = pool.pids
    job = asyncio.create_task(pool.examine(sdist(HOSTILE), SUBJECT))
    await _until(lambda: _is_asleep(first))
    os.kill(first, signal.SIGKILL)
    await _until(lambda: pool.pids not in ([], [first]))
    (second,) = pool.pids
    await _until(lambda: _is_asleep(second))
    assert not job.done()
    os.kill(second, signal.SIGKILL)
    with pytest.raises(ContentFailure) as failure:
        await job
    assert "killed" == failure.value.why
    await _good(pool)


@pytest.mark.parametrize("noticed", [True, False])
async def test_an_idle_worker_that_was_killed_is_replaced(open_pool: OpenPool, noticed: bool) -> None:
    """The next artifact is examined as if nothing had happened."""
    pool = await open_pool("Sleeper")
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    if noticed:
        await _until(lambda: pool.pids == [])
    await _good(pool)
    await _until(lambda: pool.pids not in ([], [pid]))


async def test_a_stopped_worker_is_killed_at_the_deadline(open_pool: OpenPool) -> None:
    """SIGSTOP, which no worker notices, does not stop the pool."""
    pool = await open_pool("Sleeper", job_seconds=1.0)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    await _good(pool)
    assert time.monotonic() - started >= 1.0
    await _until(lambda: _gone(pid))


async def test_a_cancelled_job_takes_its_worker_with_it_and_no_other(open_pool: OpenPool) -> None:
    """The cancelled job's worker is killed; the job beside it goes on."""
    pool = await open_pool("Sleeper", workers=2, job_seconds=60.0)
    pids = set(pool.pids)
    jobs = [asyncio.create_task(pool.examine(sdist(HOSTILE), SUBJECT)) for _ in range(2)]
    await _until(lambda: all(map(_is_asleep, pids)))
    jobs[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await jobs[0]
    await _until(lambda: any(map(_gone, pids)))
    (survivor,) = (pid for pid in pids if not _gone(pid))
    await _good(pool)
    assert survivor in pool.pids
    assert not jobs[1].done()
    jobs[1].cancel()
    await asyncio.gather(*jobs, return_exceptions=True)


async def test_closing_ends_jobs_that_run_and_jobs_that_wait(open_pool: OpenPool) -> None:
    """Both fail as unavailable, which says nothing about the content, and no process is left."""
    pool = await open_pool("Sleeper", job_seconds=60.0)
    (pid,) = pool.pids
    jobs = [asyncio.create_task(pool.examine(sdist(HOSTILE), SUBJECT)) for _ in range(3)]
    await _until(lambda: _is_asleep(pid))
    await pool.close()
    for result in await asyncio.gather(*jobs, return_exceptions=True):
        assert isinstance(result, UnavailableError)
        assert Reason.SANDBOX_UNAVAILABLE == result.reason
    assert _gone(pid)
    with pytest.raises(UnavailableError):
        await pool.examine(sdist(), SUBJECT)


async def test_workers_die_with_the_daemon(open_pool: OpenPool, tmp_path: Path) -> None:
    """A worker in the middle of a job is gone when the daemon is killed."""
    program = tmp_path / "daemon.py"
    hostile = Path(__file__).parent / "hostile"
    program.write_text(
        f"""
import asyncio, io
from wharfinger_daemon.sandbox import CheckSource, SandboxPool, SandboxSettings

async def main():
    pool = SandboxPool(SandboxSettings(checks=CheckSource(("hostile_checks:Sleeper",), ({str(hostile)!r},))))
    await pool.start()
    print(*pool.pids, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
""",
        encoding="utf-8",
    )
    daemon = await asyncio.create_subprocess_exec(sys.executable, str(program), stdout=asyncio.subprocess.PIPE)
    assert daemon.stdout is not None
    worker = int(await asyncio.wait_for(daemon.stdout.readline(), 30))
    daemon.kill()
    await daemon.wait()
    await _until(lambda: _gone(worker) or "Z" in Path(f"/proc/{worker}/status").read_text(encoding="ascii"))
