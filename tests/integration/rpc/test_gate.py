"""The gate over real gRPC and real TLS: who is let through, and what the others are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
import trustme
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wharfinger.signing.v1 import signing_pb2, signing_pb2_grpc
from wharfinger_daemon.errors import Reason, RefusedError, UnavailableError
from wharfinger_daemon.rpc.callers import CallerDirectory, Grants
from wharfinger_daemon.rpc.passage import Checkpoint, Limits, current_call
from wharfinger_daemon.rpc.room import Room
from wharfinger_daemon.rpc.server import HealthReport, Service, TlsFiles, build_server
from wharfinger_daemon.telemetry import Metrics

SERVICE = "wharfinger.signing.v1.SigningService"
Behaviour = Callable[[signing_pb2.SignRequest], Awaitable[signing_pb2.SignResponse]]


class ScriptedServicer(signing_pb2_grpc.SigningServiceServicer):
    """Does what the test says."""

    def __init__(self) -> None:
        self.behave: Behaviour = self._name_the_call

    async def _name_the_call(self, request: signing_pb2.SignRequest) -> signing_pb2.SignResponse:
        return signing_pb2.SignResponse(request_id=current_call.get().named(request.request_id))

    async def Sign(self, request: signing_pb2.SignRequest, context: Any) -> signing_pb2.SignResponse:
        return await self.behave(request)


@dataclass
class Harness:
    """A server, its parts, and the certificates that callers may show."""

    port: int
    servicer: ScriptedServicer
    room: Room
    metrics: Metrics
    authority: trustme.CA
    open_channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self, san: str | None = "warehouse", authority: trustme.CA | None = None) -> grpc.aio.Channel:
        certificate = None if san is None else (authority or self.authority).issue_cert(san)
        credentials = grpc.ssl_channel_credentials(
            self.authority.cert_pem.bytes(),
            certificate and certificate.private_key_pem.bytes(),
            certificate and b"".join(part.bytes() for part in certificate.cert_chain_pems),
        )
        options = [("grpc.max_send_message_length", -1)]
        channel = grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options)
        self.open_channels.append(channel)
        return channel

    def stub(self, san: str = "warehouse") -> signing_pb2_grpc.SigningServiceStub:
        return signing_pb2_grpc.SigningServiceStub(self.channel(san))


@asynccontextmanager
async def running(directory: Path, *, min_deadline_seconds: float = 0.01) -> AsyncIterator[Harness]:
    authority = trustme.CA()
    server_certificate = authority.issue_cert("127.0.0.1")
    files = TlsFiles(directory / "server.crt", directory / "server.key", directory / "ca.crt")
    server_certificate.cert_chain_pems[0].write_to_path(files.certificate)
    server_certificate.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.client_ca)
    metrics = Metrics()
    room = Room(2, metrics.rpcs_running)
    callers = CallerDirectory(
        [
            Grants("warehouse", "warehouse", (f"{SERVICE}/*",), ("*",), ("*",)),
            Grants("moderator", "moderator", (f"{SERVICE}/Lint",), ("*",), ("*",)),
        ]
    )
    limits = Limits(100_000, 30, 30, min_deadline_seconds)
    servicer = ScriptedServicer()
    report = HealthReport([SERVICE])
    service = Service(SERVICE, lambda to: signing_pb2_grpc.add_SigningServiceServicer_to_server(servicer, to))
    server = build_server("127.0.0.1:0", files, Checkpoint(callers, limits, room, metrics), [service], report)
    # build_server binds the address that it is given; the test needs to know which port that was.
    port = server.add_secure_port("127.0.0.1:0", files.credentials())
    await report.set_all_serving(serving=True)
    await server.start()
    harness = Harness(port, servicer, room, metrics, authority)
    try:
        yield harness
    finally:
        for channel in harness.open_channels:
            await channel.close()
        await server.stop(None)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with running(tmp_path) as running_harness:
        yield running_harness


async def failure(call: Awaitable[Any]) -> tuple[grpc.StatusCode, ErrorInfo, list[Any]]:
    """The code, the ErrorInfo and all details of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    for key, value in caught.value.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = Status.FromString(value)
            info = ErrorInfo()
            assert status.details[0].Unpack(info)
            return caught.value.code(), info, list(status.details)
    raise AssertionError(f"no ErrorInfo came with {caught.value}")


async def test_a_granted_caller_is_let_through_and_keeps_its_request_id(harness: Harness) -> None:
    reply = await harness.stub().Sign(signing_pb2.SignRequest(request_id="from-the-caller"))
    assert "from-the-caller" == reply.request_id


async def test_a_request_id_is_made_when_there_is_none_or_a_hostile_one(harness: Harness) -> None:
    stub = harness.stub()
    for hostile in ("", "x" * 65, "two\nlines"):
        reply = await stub.Sign(signing_pb2.SignRequest(request_id=hostile))
        assert len(reply.request_id) == 32


async def test_a_caller_without_a_certificate_gets_no_connection(harness: Harness) -> None:
    """TLS itself refuses: gRPC for Python cannot ask for a certificate without demanding one."""
    stub = signing_pb2_grpc.SigningServiceStub(harness.channel(san=None))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Sign(signing_pb2.SignRequest(), timeout=5)
    assert grpc.StatusCode.UNAVAILABLE == caught.value.code()


async def test_a_certificate_of_another_authority_gets_no_connection(harness: Harness) -> None:
    stub = signing_pb2_grpc.SigningServiceStub(harness.channel("warehouse", trustme.CA()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Sign(signing_pb2.SignRequest(), timeout=5)
    assert grpc.StatusCode.UNAVAILABLE == caught.value.code()


async def test_a_name_that_nobody_configured_is_denied(harness: Harness) -> None:
    code, info, _ = await failure(harness.stub("stranger").Sign(signing_pb2.SignRequest()))
    assert (grpc.StatusCode.PERMISSION_DENIED, Reason.CALLER_UNKNOWN) == (code, info.reason)


async def test_a_caller_without_the_grant_is_denied(harness: Harness) -> None:
    code, info, _ = await failure(harness.stub("moderator").Sign(signing_pb2.SignRequest()))
    assert (grpc.StatusCode.PERMISSION_DENIED, Reason.RPC_NOT_GRANTED) == (code, info.reason)
    assert "wharfinger" == info.domain
    assert "moderator" == info.metadata["caller"]


async def test_garbage_bytes_are_an_invalid_argument(harness: Harness) -> None:
    raw = harness.channel().unary_unary(f"/{SERVICE}/Sign", request_serializer=bytes)
    code, info, _ = await failure(raw(b"\xff\xff\xff garbage"))
    assert (grpc.StatusCode.INVALID_ARGUMENT, Reason.MALFORMED_REQUEST) == (code, info.reason)


async def test_a_message_beyond_the_limit_is_answered_with_a_reason(harness: Harness) -> None:
    huge = signing_pb2.SigningItem(tuf_metadata=signing_pb2.TufMetadata(signed=b"x" * 150_000))
    code, info, _ = await failure(harness.stub().Sign(signing_pb2.SignRequest(items=[huge])))
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.MESSAGE_TOO_LARGE) == (code, info.reason)


async def test_a_message_beyond_the_transport_is_cut_off(harness: Harness) -> None:
    huge = signing_pb2.SigningItem(tuf_metadata=signing_pb2.TufMetadata(signed=b"x" * 500_000))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await harness.stub().Sign(signing_pb2.SignRequest(items=[huge]))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()


async def test_calls_beyond_the_room_are_told_to_come_back(harness: Harness) -> None:
    release = asyncio.Event()

    async def wait(request: signing_pb2.SignRequest) -> signing_pb2.SignResponse:
        await release.wait()
        return signing_pb2.SignResponse()

    harness.servicer.behave = wait
    stub = harness.stub()
    running_calls = [asyncio.ensure_future(stub.Sign(signing_pb2.SignRequest())) for _ in range(2)]
    while harness.metrics.registry.get_sample_value("wharfinger_rpcs_running") != 2:
        await asyncio.sleep(0.01)
    code, info, details = await failure(stub.Sign(signing_pb2.SignRequest()))
    release.set()
    await asyncio.gather(*running_calls)
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.TOO_MANY_CONCURRENT_REQUESTS) == (code, info.reason)
    assert details[1].Unpack(RetryInfo())
    await stub.Sign(signing_pb2.SignRequest())  # There is room again.


async def test_a_refusal_of_the_domain_carries_its_reason_and_details(harness: Harness) -> None:
    async def refuse(request: signing_pb2.SignRequest) -> signing_pb2.SignResponse:
        raise RefusedError("Not this.", reason=Reason.VERSION_ROLLBACK, item="3")

    harness.servicer.behave = refuse
    code, info, _ = await failure(harness.stub().Sign(signing_pb2.SignRequest(request_id="mine")))
    assert (grpc.StatusCode.FAILED_PRECONDITION, Reason.VERSION_ROLLBACK) == (code, info.reason)
    assert {"item": "3"} == {key: value for key, value in info.metadata.items() if key == "item"}


async def test_an_unforeseen_error_tells_the_caller_nothing_but_where_to_look(harness: Harness) -> None:
    async def stumble(request: signing_pb2.SignRequest) -> signing_pb2.SignResponse:
        raise KeyError("a detail of the inside")

    harness.servicer.behave = stumble
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await harness.stub().Sign(signing_pb2.SignRequest())
    assert grpc.StatusCode.INTERNAL == caught.value.code()
    assert "a detail" not in str(caught.value)
    assert 0 == harness.metrics.registry.get_sample_value("wharfinger_rpcs_running")


async def test_a_call_that_overruns_its_deadline_frees_its_place(harness: Harness) -> None:
    async def dawdle(request: signing_pb2.SignRequest) -> signing_pb2.SignResponse:
        await asyncio.Event().wait()
        raise AssertionError

    harness.servicer.behave = dawdle
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await harness.stub().Sign(signing_pb2.SignRequest(), timeout=0.2)
    assert grpc.StatusCode.DEADLINE_EXCEEDED == caught.value.code()
    await asyncio.wait_for(harness.room.idle(), 10)


async def test_a_call_without_enough_time_left_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    """Else a busy daemon works for callers that have gone, and gets busier."""
    asked: list[signing_pb2.SignRequest] = []

    async def note(request: signing_pb2.SignRequest) -> signing_pb2.SignResponse:
        asked.append(request)
        return signing_pb2.SignResponse()

    async with running(tmp_path, min_deadline_seconds=20) as harness:
        harness.servicer.behave = note
        code, info, _ = await failure(harness.stub().Sign(signing_pb2.SignRequest(), timeout=10))
        assert (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.DEADLINE_TOO_SHORT) == (code, info.reason)
        health = health_pb2_grpc.HealthStub(harness.channel())
        assert await health.Check(health_pb2.HealthCheckRequest(service=""), timeout=10), "health is told all the same"
        assert [] == asked
        await harness.stub().Sign(signing_pb2.SignRequest(), timeout=25)
        await harness.stub().Sign(signing_pb2.SignRequest())
    assert 2 == len(asked)


async def test_a_draining_server_refuses_new_calls(harness: Harness) -> None:
    harness.room.drain()
    code, info, _ = await failure(harness.stub().Sign(signing_pb2.SignRequest()))
    assert (grpc.StatusCode.UNAVAILABLE, Reason.DRAINING) == (code, info.reason)


async def test_an_unknown_method_is_unimplemented(harness: Harness) -> None:
    raw = harness.channel().unary_unary(f"/{SERVICE}/SignAnything", request_serializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw(b"")
    assert grpc.StatusCode.UNIMPLEMENTED == caught.value.code()


async def test_every_known_caller_may_ask_for_health(harness: Harness) -> None:
    stub = health_pb2_grpc.HealthStub(harness.channel("moderator"))
    reply = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert health_pb2.HealthCheckResponse.SERVING == reply.status


async def test_a_watch_of_health_takes_no_place(harness: Harness) -> None:
    watch = health_pb2_grpc.HealthStub(harness.channel()).Watch(health_pb2.HealthCheckRequest(service=""))
    first = await watch.read()
    assert health_pb2.HealthCheckResponse.SERVING == first.status
    assert 0 == harness.metrics.registry.get_sample_value("wharfinger_rpcs_running")
    watch.cancel()


@pytest.mark.parametrize("letter", ["x", "é", "\n"])
async def test_an_error_that_quotes_a_long_request_still_arrives_with_its_reason(harness: Harness, letter: str) -> None:
    """Clients drop trailers that are too large, and would see another status without a reason."""

    async def quote(request: signing_pb2.SignRequest) -> signing_pb2.SignResponse:
        current_call.get().named(request.request_id)
        long = letter * 50_000
        raise RefusedError(f"No: {long}", reason=Reason.VERSION_ROLLBACK, role=long, path=long, repository=long)

    harness.servicer.behave = quote
    code, info, _ = await failure(harness.stub().Sign(signing_pb2.SignRequest(request_id="mine")))
    assert (grpc.StatusCode.FAILED_PRECONDITION, Reason.VERSION_ROLLBACK) == (code, info.reason)
    assert "mine" == info.metadata["request_id"]


async def test_the_health_of_an_unknown_service_is_not_found_and_no_mistake_of_ours(harness: Harness) -> None:
    stub = health_pb2_grpc.HealthStub(harness.channel())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert grpc.StatusCode.NOT_FOUND == caught.value.code()
    labels = {"method": "grpc.health.v1.Health/Check", "caller": "warehouse", "code": "NOT_FOUND", "reason": ""}
    # The health service aborts by itself, so that the caller may have its answer before the gate has counted it.
    async with asyncio.timeout(10):
        while harness.metrics.registry.get_sample_value("wharfinger_rpcs_total", labels) != 1:
            await asyncio.sleep(0.01)


async def test_health_is_told_while_all_places_are_taken_and_while_draining(harness: Harness) -> None:
    """An orchestrator that got an error instead would kill a daemon that is only busy, or about to end in order."""
    for _ in range(2):
        harness.room.enter()
    stub = health_pb2_grpc.HealthStub(harness.channel())
    assert await stub.Check(health_pb2.HealthCheckRequest(service=""))
    harness.room.drain()
    assert await stub.Check(health_pb2.HealthCheckRequest(service=""))


async def test_watches_without_end_are_bounded(harness: Harness) -> None:
    """They take no place, so that the server itself must count them."""
    stub = health_pb2_grpc.HealthStub(harness.channel())
    watches = [stub.Watch(health_pb2.HealthCheckRequest(service="")) for _ in range(8)]
    for watch in watches:
        await watch.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service=""))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()
    for watch in watches:
        watch.cancel()


async def test_the_log_has_the_cause_that_the_caller_is_not_told(harness: Harness) -> None:
    async def fail(request: signing_pb2.SignRequest) -> signing_pb2.SignResponse:
        try:
            raise OSError("/dev/hsm0 is gone")
        except OSError as error:
            raise UnavailableError("The token is gone.", reason=Reason.TOKEN_UNAVAILABLE) from error

    harness.servicer.behave = fail
    with structlog.testing.capture_logs() as logged:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.stub().Sign(signing_pb2.SignRequest())
    assert "/dev/hsm0" not in str(caught.value)
    assert ["OSError: /dev/hsm0 is gone"] == [line["cause"] for line in logged if "cause" in line]
