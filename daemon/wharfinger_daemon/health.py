"""Watches whether the daemon can do its work, and tells ``grpc.health.v1`` and ``/readyz``.

Each service has a probe that does the real thing: signing makes a signature. A service whose probe fails is
NOT_SERVING; the server as a whole serves only while all of its services do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.http.public import Readiness
from wharfinger_daemon.rpc.server import HealthReport

log = structlog.get_logger()

Probe = Callable[[], Awaitable[None]]
"""Returns if the service can work, and raises WharfingerError if not."""


class HealthWatch:
    """Probes the services, one round after another.

    Args:
        probes: by the full name of their gRPC service.
        reports: what is told; one for each gRPC server.
        notes: what is not as it should be and keeps no service from working.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe],
        reports: tuple[HealthReport, ...],
        interval_seconds: float,
        notes: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._probes = probes
        self._reports = reports
        self._interval_seconds = interval_seconds
        self._notes = notes
        self._problems: dict[str, str] = {}
        self._stopping = False

    async def readiness(self) -> Readiness:
        """What the last round found."""
        problems = tuple(f"{service}: {problem}" for service, problem in sorted(self._problems.items()))
        if self._stopping:
            problems = ("The daemon is shutting down.", *problems)
        return Readiness(ready=not problems, problems=problems, notes=self._notes())

    async def run(self) -> None:
        """Probes until cancelled."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.probe_all()

    async def probe_all(self) -> None:
        """One round."""
        for service, probe in self._probes.items():
            try:
                await probe()
            except WharfingerError as error:
                await self._changed(service, error.message)
            except Exception as error:  # A probe must not end the watch, which ends the daemon.
                log.error("a probe failed for a reason that nobody foresaw", service=service, exc_info=error)
                await self._changed(service, "Its health cannot be found out; the log has more.")
            else:
                await self._changed(service, None)

    async def stop_serving(self) -> None:
        """Tells everybody that the end is near."""
        self._stopping = True
        for report in self._reports:
            await report.set_all_serving(serving=False)

    async def _changed(self, service: str, problem: str | None) -> None:
        was_well = service not in self._problems
        if problem is not None:
            self._problems[service] = problem
        else:
            self._problems.pop(service, None)
        if was_well != (problem is None):
            log.warning("health", service=service, serving=problem is None, problem=problem)
        for report in self._reports:
            await report.set_serving(service, serving=problem is None)
            await report.set_serving("", serving=not self._problems)
