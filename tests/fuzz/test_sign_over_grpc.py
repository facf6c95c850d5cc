"""The front door itself: real gRPC, real TLS, the gate, the service and a ledger in SQLite, sent anything at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.conftest import Quarry
from tests.fuzz.payloads import ROLES, TEXTS, canonical, damaged, payloads
from tests.fuzz.test_sign_payloads import require_same_reading, right_role
from wharfinger.signing.v1 import signing_pb2, signing_pb2_grpc
from wharfinger_daemon.audit.leaf import LeafReference
from wharfinger_daemon.rpc.callers import CallerDirectory, Grants
from wharfinger_daemon.rpc.passage import Checkpoint, Limits
from wharfinger_daemon.rpc.room import Room
from wharfinger_daemon.rpc.server import HealthReport, Service, TlsFiles, build_server
from wharfinger_daemon.rpc.signing import SigningServicer
from wharfinger_daemon.signing.model import Signature
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.migrate import upgrade
from wharfinger_daemon.telemetry import Metrics

SERVICE = "wharfinger.signing.v1.SigningService"
OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}
FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@dataclass
class FrontDoor:
    """A server, and a caller that sends bytes of any kind to it."""

    quarry: Quarry
    runner: asyncio.Runner
    sign: Any
    lint: Any

    def refusal(self, content: bytes) -> str:
        """The reason for which a request is refused; empty if it was signed, as clients read it."""
        asked: dict[str, bytes] = {}
        try:
            reply = self.runner.run(_called(self.sign, content))
        except grpc.aio.AioRpcError as error:
            assert error.code() not in OURS, error
            return _reason(error)
        for item in signing_pb2.SignRequest.FromString(content).items:
            asked.setdefault(item.tuf_metadata.role or right_role(item.tuf_metadata.signed), item.tuf_metadata.signed)
        for one in signing_pb2.SignResponse.FromString(reply).signatures:
            leaf = LeafReference(one.leaf_index, one.leaf_hash)
            signature = Signature(one.keyid, one.signature, one.role, one.version, one.replayed, leaf)
            require_same_reading(self.quarry, asked[one.role], signature)
        return ""


async def _called(method: Any, content: bytes) -> bytes:
    reply: bytes = await method(content, timeout=60)
    return reply


def _reason(error: grpc.aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = ErrorInfo()
            assert Status.FromString(value).details[0].Unpack(info)
            return str(info.reason)
    raise AssertionError(f"no ErrorInfo came with {error}")


@asynccontextmanager
async def _opened(quarry: Quarry, place: Path, database: Database) -> AsyncIterator[grpc.aio.Channel]:
    authority = trustme.CA()
    shown = authority.issue_cert("127.0.0.1")
    files = TlsFiles(place / "server.crt", place / "server.key", place / "ca.crt")
    shown.cert_chain_pems[0].write_to_path(files.certificate)
    shown.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.client_ca)
    metrics = Metrics()
    servicer = SigningServicer(quarry.service(SqlLedger(Journal(database))))
    callers = CallerDirectory([Grants("fuzzer", "fuzzer", (f"{SERVICE}/*",), ("*",), ("*",))])
    checkpoint = Checkpoint(callers, Limits(1_000_000, 30, 60), Room(4, metrics.rpcs_running), metrics)
    service = Service(SERVICE, lambda to: signing_pb2_grpc.add_SigningServiceServicer_to_server(servicer, to))
    server = build_server("127.0.0.1:0", files, checkpoint, [service], HealthReport([SERVICE]))
    port = server.add_secure_port("127.0.0.1:0", files.credentials())
    await server.start()
    caller = authority.issue_cert("fuzzer")
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(), caller.private_key_pem.bytes(), caller.cert_chain_pems[0].bytes()
    )
    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            yield channel
    finally:
        await server.stop(None)


@pytest.fixture(scope="module")
def door(quarry: Quarry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    place = tmp_path_factory.mktemp("door")
    with asyncio.Runner() as runner, closing(Database(f"sqlite:///{place / 'ledger.db'}")) as database:
        upgrade(database)
        opening = _opened(quarry, place, database)
        channel = runner.run(opening.__aenter__())
        methods = (
            channel.unary_unary(f"/{SERVICE}/{name}", request_serializer=bytes, response_deserializer=bytes)
            for name in ("Sign", "Lint")
        )
        yield FrontDoor(quarry, runner, *methods)
        runner.run(opening.__aexit__(None, None, None))


def request(quarry: Quarry, data: st.DataObject) -> signing_pb2.SignRequest:
    """A request of up to three items, one thing or other of which may be odd."""
    odd = st.sampled_from([""] * 4) | TEXTS
    items = []
    for _ in range(data.draw(st.integers(0, 3))):
        signed = data.draw(payloads(quarry.bases))
        role = data.draw(st.just(right_role(signed)) | ROLES)
        metadata = signing_pb2.TufMetadata(repository=data.draw(st.just("pypi") | odd), role=role, signed=signed)
        items.append(signing_pb2.SigningItem(tuf_metadata=metadata, keyid=data.draw(odd)))
    return signing_pb2.SignRequest(items=items, request_id=data.draw(odd))


@FEW
@given(st.data())
def test_requests_are_refused_with_a_reason_or_signed_as_clients_read_them(
    door: FrontDoor, data: st.DataObject
) -> None:
    door.refusal(request(door.quarry, data).SerializeToString())


@FEW
@given(st.data())
def test_damaged_requests_are_refused_with_a_reason_or_signed_as_clients_read_them(
    door: FrontDoor, data: st.DataObject
) -> None:
    door.refusal(data.draw(damaged(request(door.quarry, data).SerializeToString())))


@FEW
@given(st.binary(max_size=300))
def test_random_bytes_are_no_request_that_is_signed(door: FrontDoor, content: bytes) -> None:
    assert "" != door.refusal(content)


@FEW
@given(st.data())
def test_lint_answers_any_request_that_sign_refuses_item_by_item(door: FrontDoor, data: st.DataObject) -> None:
    content = request(door.quarry, data).SerializeToString()
    items = signing_pb2.SignRequest.FromString(content).items
    try:
        reply = door.runner.run(_called(door.lint, signing_pb2.LintRequest(items=items).SerializeToString()))
    except grpc.aio.AioRpcError as error:
        assert error.code() not in OURS, error
        assert "EMPTY_BATCH" == _reason(error)
        return
    results = signing_pb2.LintResponse.FromString(reply).results
    assert len(items) == len(results)
    assert bool(door.refusal(content)) == any(result.reason for result in results)


def test_a_valid_request_is_signed(door: FrontDoor) -> None:
    """Else nothing would have been learned above."""
    fresh = {**door.quarry.bases[4], "version": 2**62}
    metadata = signing_pb2.TufMetadata(repository="pypi", role="bins-1", signed=canonical(fresh))
    item = signing_pb2.SigningItem(tuf_metadata=metadata)
    assert "" == door.refusal(signing_pb2.SignRequest(items=[item]).SerializeToString())
