"""Publishes all bins of a repository anew in one publication, in this process. Prints its seconds.

Arguments: the home.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from bench.in_process import open_repository
from wharfinger_daemon.metadata.planning import Change


async def _renew(home: Path) -> float:
    async with AsyncExitStack() as stack:
        opened = await open_repository(home, stack)
        begun = time.perf_counter()
        await opened.repository.publish(Change(), set(opened.repository.offline.bins.roles()))
        return time.perf_counter() - begun


print(asyncio.run(_renew(Path(sys.argv[1]))))
