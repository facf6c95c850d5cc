"""Real workers with hostile checks in them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from wharfinger_daemon.sandbox import CheckSource, SandboxPool, SandboxSettings
from wharfinger_daemon.scanning.archives import ArchiveLimits
from wharfinger_daemon.scanning.engine import EngineLimits
from wharfinger_daemon.scanning.model import Subject, SubjectKind

MIB = 1024 * 1024
SUBJECT = Subject(kind=SubjectKind.FILE, project="sample", version="1.0", filename="sample-1.0.tar.gz")

OpenPool = Callable[..., Awaitable[SandboxPool]]


def sdist(content: bytes = b"print()\n") -> io.BytesIO:
    """An artifact with one member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("sample-1.0/setup.py")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer


@pytest.fixture
async def open_pool() -> AsyncIterator[OpenPool]:
    """Starts a pool whose workers have the named hostile checks; closes it."""
    pools = []

    async def opened(*names: str, **changes: object) -> SandboxPool:
        values: dict[str, object] = {
            "job_seconds": 10.0,
            "memory_bytes": 256 * MIB,
            "limits": EngineLimits(archive=ArchiveLimits(), check_seconds=1.0),
            "checks": CheckSource(
                classes=tuple(f"hostile_checks:{name}" for name in names),
                import_paths=(str(Path(__file__).parent / "hostile"),),
            ),
        }
        pool = SandboxPool(SandboxSettings(**{**values, **changes}))  # type: ignore[arg-type]
        pools.append(pool)
        await pool.start()
        return pool

    yield opened
    for pool in pools:
        await pool.close()
