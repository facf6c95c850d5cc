"""Everything that the signing benchmarks need at once: daemons, callers, and the floors."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.processes import BenchedDaemon, Program, processor_seconds
from tests.support.daemon_process import run_cli

BATCH = 64
CALLS = 12
SINGLES = 640
_BINS = 128
_FIRST_VERSION = 10
_UNVERIFIED = (str(processes.PROGRAMS / "unverified_daemon.py"),)


@dataclass(frozen=True)
class Cost:
    """Of one call, in microseconds.

    Attributes:
        processor: the processor's time, by process.
        median: by the clock.
    """

    processor: Mapping[str, float]
    median: float

    @property
    def total(self) -> float:
        """The processor's time of all processes together."""
        return sum(self.processor.values())


class Stage:
    """Everything that runs at once, and what it is asked."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        pristine = folder / "pristine"
        made = run_cli("init", "--development", "--home", str(pristine), "--bins", str(_BINS))
        assert made.returncode == 0, made.stderr
        processes.generate_peer_key(pristine)
        enter = stack.enter_context
        self._others = enter(contextlib.ExitStack())
        self.daemons = {
            workers: (enter if workers == 1 else self._others.enter_context)(
                processes.daemon(pristine, folder / f"workers-{workers}", workers=workers)
            )
            for workers in (1, 2, 4)
        }
        unverified = processes.daemon(pristine, folder / "unverified", workers=1, program=_UNVERIFIED)
        self.unverified = self._others.enter_context(unverified)
        self.callers = [enter(processes.caller(pristine)) for _ in range(2)]
        self.direct = enter(processes.direct(pristine))
        self.hsm_signer = enter(processes.hsm_signer(pristine))
        tls = str(pristine / "tls")
        self.empty = enter(processes.running([processes.PYTHON, str(processes.PROGRAMS / "empty_server.py"), tls]))
        self.empty_address = self.empty.line()
        writer = [processes.PYTHON, str(processes.PROGRAMS / "durable_write.py"), str(folder)]
        self.durable = enter(processes.running(writer))
        self._used: Counter[tuple[str, int]] = Counter()

    def leave_one_worker(self) -> None:
        """Stops all daemons but the one with one worker: they cost time, and the caches, even when nobody calls."""
        self._others.close()

    def batches(self, daemon: BenchedDaemon, callers: int) -> float:
        """Signatures a second, of batches that one caller sends one after another, or two at the same time."""
        commands = [
            {"do": "batches", "items": BATCH, "calls": CALLS, **self._fresh(daemon, number, CALLS)}
            for number in range(callers)
        ]
        answers = _together(self.callers[:callers], commands)
        return callers * BATCH * CALLS / max(answer["seconds"] for answer in answers)

    def batch_cost(self) -> Cost:
        """Of each signature in a batch of the daemon with one worker, one caller; the median is a batch's."""
        daemon = self.daemons[1]
        command = {"do": "batches", "items": BATCH, "calls": CALLS, **self._fresh(daemon, 0, CALLS)}
        return self._cost(command, daemon.pids(), BATCH * CALLS)

    def singles(self, callers: int) -> Cost:
        """Of a single ``Sign`` of the daemon with one worker."""
        daemon = self.daemons[1]
        command = {"do": "singles", "callers": callers, "calls": SINGLES, **self._fresh(daemon, 0, SINGLES // BATCH)}
        return self._cost(command, daemon.pids())

    def empty_rpcs(self, callers: int) -> Cost:
        """Of an empty RPC of a bare server."""
        command = {"do": "empty", "callers": callers, "calls": SINGLES, "address": self.empty_address}
        return self._cost(command, {"server": [self.empty.pid]})

    def _cost(self, command: dict[str, object], servers: Mapping[str, Sequence[int]], counted: int = SINGLES) -> Cost:
        pids = {"client": [self.callers[0].pid], **servers}
        before: dict[str, float] = {}

        def used() -> dict[str, float]:
            return {name: sum(map(processor_seconds, some)) for name, some in pids.items()}

        [answer] = _together(self.callers[:1], [command], lambda: before.update(used()))
        processor = {name: (seconds - before[name]) / counted * 1e6 for name, seconds in used().items()}
        return Cost(processor, answer["median"] * 1e6)

    def _fresh(self, daemon: BenchedDaemon, number: int, versions: int) -> dict[str, object]:
        first = _FIRST_VERSION + self._used[daemon.address, number]
        self._used[daemon.address, number] += versions
        return {"address": daemon.address, "first_bin": number * BATCH, "version": first}


def _together(
    callers: Sequence[Program], commands: Sequence[dict[str, object]], begin: Callable[[], None] = lambda: None
) -> list[dict[str, float]]:
    for caller, command in zip(callers, commands, strict=True):
        caller.send(json.dumps(command))
    for caller in callers:
        assert caller.line() == "ready"
    begin()
    for caller in callers:
        caller.send("go")
    return [caller.answer() for caller in callers]
