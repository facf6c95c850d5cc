"""``wharfinger`` under cProfile: where the processor's time of the daemon's event loop goes, and of its journal.

    python profiled_daemon.py FOLDER serve --config FILE

Each thread that ran is written to a file in the folder when the daemon ends, for ``python -m pstats``.
"""

from __future__ import annotations

import cProfile
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wharfinger_daemon.cli import main

folder = Path(sys.argv.pop(1))
run = threading.Thread.run


def profiled(name: str, work: Callable[[], Any]) -> None:
    profile = cProfile.Profile()
    try:
        profile.runcall(work)
    finally:
        profile.dump_stats(folder / f"{name}.pstats")


threading.Thread.run = lambda self: profiled(self.name, lambda: run(self))  # type: ignore[method-assign]
profiled("main", lambda: main(prog_name="wharfinger"))
