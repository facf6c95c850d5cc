"""Health tells what the probes find, to everybody who asks."""

from __future__ import annotations

import asyncio
import contextlib

from grpc_health.v1 import health_pb2

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.health import HealthWatch
from wharfinger_daemon.rpc.server import HealthReport

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class ScriptedProbe:
    """Is well until told otherwise."""

    def __init__(self) -> None:
        self.problem = ""
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1
        if self.problem:
            raise UnavailableError(self.problem, reason=Reason.TOKEN_UNAVAILABLE)


async def said(report: HealthReport, service: str) -> int:
    reply = await report.servicer.Check(health_pb2.HealthCheckRequest(service=service), None)
    return int(reply.status)


async def test_one_broken_service_is_said_of_it_and_of_the_whole() -> None:
    sign, scan = ScriptedProbe(), ScriptedProbe()
    report = HealthReport(["sign", "scan"])
    watch = HealthWatch({"sign": sign, "scan": scan}, (report,), 1)
    await watch.probe_all()
    assert [SERVING] * 3 == [await said(report, name) for name in ("", "sign", "scan")]
    sign.problem = "no token"
    await watch.probe_all()
    assert [NOT_SERVING, NOT_SERVING, SERVING] == [await said(report, name) for name in ("", "sign", "scan")]
    state = await watch.readiness()
    assert (False, ("sign: no token",)) == (state.ready, state.problems)
    sign.problem = ""
    await watch.probe_all()
    assert SERVING == await said(report, "")
    assert (await watch.readiness()).ready


async def test_a_daemon_that_drains_serves_nothing() -> None:
    report = HealthReport(["sign"])
    watch = HealthWatch({"sign": ScriptedProbe()}, (report,), 1)
    await watch.probe_all()
    await watch.stop_serving()
    assert [NOT_SERVING] * 2 == [await said(report, name) for name in ("", "sign")]


async def test_probes_are_repeated_until_cancelled() -> None:
    probe = ScriptedProbe()
    watch = HealthWatch({"sign": probe}, (), 0.001)
    task = asyncio.create_task(watch.run())
    while probe.count < 3:
        await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_probe_that_fails_for_an_unforeseen_reason_is_a_problem_and_not_the_end() -> None:
    """The watch ends the daemon when it ends."""

    async def stumble() -> None:
        raise KeyError("a detail of the inside")

    sound = ScriptedProbe()
    report = HealthReport(["scan", "sign"])
    watch = HealthWatch({"scan": stumble, "sign": sound}, (report,), 1)
    await watch.probe_all()
    assert [NOT_SERVING, SERVING] == [await said(report, name) for name in ("scan", "sign")]
    (problem,) = (await watch.readiness()).problems
    assert "a detail" not in problem


async def test_a_daemon_that_drains_is_not_ready() -> None:
    """A load balancer that asks over HTTP must learn it too."""
    watch = HealthWatch({"sign": ScriptedProbe()}, (), 1)
    await watch.probe_all()
    assert (await watch.readiness()).ready
    await watch.stop_serving()
    assert not (await watch.readiness()).ready
