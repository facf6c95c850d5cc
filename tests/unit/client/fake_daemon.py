"""A daemon that says what a test tells it to say, behind a real gRPC server with real mTLS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import trustme
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2

from wharfinger.audit.v1 import audit_pb2_grpc
from wharfinger.metadata.v1 import metadata_pb2_grpc
from wharfinger.scan.v1 import scan_pb2, scan_pb2_grpc
from wharfinger.signing.v1 import signing_pb2_grpc
from wharfinger_client import TlsIdentity


@dataclass(frozen=True)
class Abort:
    """An error to answer with; ``details`` become google.rpc details, ``raw`` replaces their bytes."""

    code: grpc.StatusCode
    words: str = "refused"
    details: tuple[Message, ...] = ()
    raw: bytes | None = None

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        if self.raw is None and not self.details:
            return ()
        status = status_pb2.Status(code=self.code.value[0], message=self.words)
        for detail in self.details:
            status.details.add().Pack(detail)
        content = status.SerializeToString() if self.raw is None else self.raw
        return (("x-other-bin", b"\xff"), ("grpc-status-details-bin", content))


@dataclass(frozen=True)
class Received:
    """What the daemon got. ``messages`` is one request, or as much of a stream as was read."""

    method: str
    messages: tuple[Any, ...]
    request_id: str
    time_remaining: float

    @property
    def content(self) -> bytes:
        return b"".join(message.chunk for message in self.messages)


Answer = Message | Abort | Callable[[Any, grpc.ServicerContext], Message]


@dataclass(frozen=True)
class Attempt:
    """What one call of an RPC that watches gets: messages, and then an error, or just the end."""

    messages: tuple[Message, ...]
    end: Abort | None = None


class Script:
    """The answers by method name, used up one after another; the last one is given again and again."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.answers: dict[str, list[Answer]] = {}
        self.received: list[Received] = []
        self._lock = threading.Lock()

    def set(self, method: str, *answers: Answer) -> None:
        self.answers[method] = list(answers)

    def reply(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            answers = self.answers[method]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            return answer(request, context)
        messages = (request,) if isinstance(request, Message) else tuple(request)
        self.record(method, messages, context)
        if isinstance(answer, Abort):
            context.set_trailing_metadata(answer.trailing_metadata())
            context.abort(answer.code, answer.words)
        return answer

    def next_attempt(self) -> Attempt:
        with self._lock:
            return self.attempts.pop(0)

    def record(self, method: str, messages: tuple[Any, ...], context: grpc.ServicerContext) -> None:
        request_id = dict(context.invocation_metadata())["x-request-id"]
        self.received.append(Received(method, messages, str(request_id), context.time_remaining()))


class Signing(signing_pb2_grpc.SigningServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    def Sign(self, request: Any, context: Any) -> Any:
        return self._script.reply("Sign", request, context)

    def Lint(self, request: Any, context: Any) -> Any:
        return self._script.reply("Lint", request, context)

    def ListSigningKeys(self, request: Any, context: Any) -> Any:
        return self._script.reply("ListSigningKeys", request, context)


class Metadata(metadata_pb2_grpc.MetadataServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    def GetMetadata(self, request: Any, context: Any) -> Any:
        return self._script.reply("GetMetadata", request, context)

    def PublishTargets(self, request: Any, context: Any) -> Any:
        return self._script.reply("PublishTargets", request, context)

    def GetTarget(self, request: Any, context: Any) -> Any:
        return self._script.reply("GetTarget", request, context)

    def WatchPublications(self, request: Any, context: Any) -> Any:
        """Each answer is one attempt: a list of messages in an ``Attempt``, and how the stream ends."""
        attempt = self._script.next_attempt()
        self._script.record("WatchPublications", (request,), context)
        yield from attempt.messages
        if attempt.end is not None:
            context.set_trailing_metadata(attempt.end.trailing_metadata())
            context.abort(attempt.end.code, attempt.end.words)


class Scanning(scan_pb2_grpc.ScanServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    def Scan(self, request_iterator: Any, context: Any) -> Any:
        return self._script.reply("Scan", request_iterator, context)

    def CreateScan(self, request: Any, context: Any) -> Any:
        return self._script.reply("CreateScan", request, context)

    def GetScan(self, request: Any, context: Any) -> Any:
        return self._script.reply("GetScan", request, context)

    def ListScans(self, request: Any, context: Any) -> Any:
        return self._script.reply("ListScans", request, context)


class Audit(audit_pb2_grpc.AuditServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    def GetCheckpoint(self, request: Any, context: Any) -> Any:
        return self._script.reply("GetCheckpoint", request, context)

    def GetInclusionProof(self, request: Any, context: Any) -> Any:
        return self._script.reply("GetInclusionProof", request, context)


@dataclass(frozen=True)
class Authority:
    """One CA for the server and the callers, and another that nobody trusts."""

    trusted: trustme.CA = field(default_factory=trustme.CA)
    foreign: trustme.CA = field(default_factory=trustme.CA)

    @property
    def ca(self) -> bytes:
        return self.trusted.cert_pem.bytes()

    def identity(self, *, issuer: trustme.CA | None = None) -> tuple[bytes, bytes]:
        """Certificate and key of a caller."""
        issued = (issuer or self.trusted).issue_cert("warehouse.example.com")
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def caller(self) -> TlsIdentity:
        certificate, key = self.identity()
        return TlsIdentity(ca=self.ca, certificate=certificate, key=key)

    def server_credentials(self, *names: str) -> grpc.ServerCredentials:
        """A certificate for the names; callers must show one, too."""
        issued = self.trusted.issue_cert(*names)
        return grpc.ssl_server_credentials(
            [(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())],
            root_certificates=self.ca,
            require_client_auth=True,
        )


class FakeDaemon:
    """A running server that answers from ``script``."""

    def __init__(self, authority: Authority, *names: str) -> None:
        self.script = Script()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        signing_pb2_grpc.add_SigningServiceServicer_to_server(Signing(self.script), self._server)
        metadata_pb2_grpc.add_MetadataServiceServicer_to_server(Metadata(self.script), self._server)
        scan_pb2_grpc.add_ScanServiceServicer_to_server(Scanning(self.script), self._server)
        audit_pb2_grpc.add_AuditServiceServicer_to_server(Audit(self.script), self._server)
        self._server.add_generic_rpc_handlers((self._health(),))
        credentials = authority.server_credentials(*(names or ("127.0.0.1", "localhost")))
        port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    @property
    def received(self) -> list[Received]:
        return self.script.received

    def stop(self) -> None:
        self._server.stop(None).wait(10)

    def _health(self) -> grpc.GenericRpcHandler:
        # The real messages of grpc.health.v1, so that the client's stand-ins for them are put to the test.
        handler = grpc.unary_unary_rpc_method_handler(
            lambda request, context: self.script.reply("Check", request, context),
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})


def scan_message(**fields: Any) -> scan_pb2.Scan:
    """A finished, benign scan of a file, but for ``fields``."""
    chosen: dict[str, Any] = {
        "scan_id": "scan-1",
        "subject": scan_pb2.Subject(
            kind=scan_pb2.SUBJECT_KIND_FILE, project="example", version="1.0", filename="example-1.0.tar.gz"
        ),
        "state": scan_pb2.SCAN_STATE_FINISHED,
        "classification": scan_pb2.CLASSIFICATION_BENIGN,
        "confidence": scan_pb2.CONFIDENCE_HIGH,
    }
    return scan_pb2.Scan(**{**chosen, **fields})


def scan_reply(request_iterator: Iterator[Any]) -> tuple[tuple[Any, ...], scan_pb2.ScanResponse]:
    """Reads the whole stream and answers with a scan of its stated digest."""
    messages = tuple(request_iterator)
    return messages, scan_pb2.ScanResponse(scan=scan_message(sha256=messages[0].header.sha256))
