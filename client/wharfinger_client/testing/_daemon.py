"""The daemon in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value

from wharfinger_client import _rpcs
from wharfinger_client._failures import wharfinger_error
from wharfinger_client._steps import Send
from wharfinger_client.client import Client
from wharfinger_client.metadata import Target
from wharfinger_client.scanning import Classification, Confidence, Finding
from wharfinger_client.settings import ClientSettings, RetryPolicy, TlsIdentity
from wharfinger_client.testing._publishing import PublishedTargets
from wharfinger_client.testing._refusals import Refusal, away, unimplemented
from wharfinger_client.testing._scanning import KeptScans

_ADDRESS = "fake.invalid:50051"
_SERVING = 1


@dataclass(frozen=True)
class Judgement:
    """What a scan is to conclude.

    Attributes:
        error: if it is not empty, the scan ends in state ``error`` and has no classification.
    """

    classification: Classification
    confidence: Confidence = Confidence.HIGH
    score: float = 0.0
    findings: tuple[Finding, ...] = ()
    error: str = ""


BENIGN = Judgement(Classification.BENIGN, Confidence.MEDIUM)


def _benign(content: bytes) -> Judgement:
    return BENIGN


@dataclass(frozen=True)
class Call:
    """A call that reached the daemon: the name of the RPC, such as ``PublishTargets``, and its ``x-request-id``."""

    rpc: str
    request_id: str


@dataclass
class FakeDaemon:
    """A daemon in memory. May be shared by threads; a forked process has a copy of its own.

    Attributes:
        repositories: the names of the repositories that there are.
        judge: says what the scan of the given bytes concludes; everything is benign without it.
        artifacts: what ``create_scan`` finds, by path or URL.
        calls: the calls that it answered or refused, in order; not those that were made while it was stopped.
    """

    repositories: frozenset[str] = frozenset({"pypi"})
    judge: Callable[[bytes], Judgement] = _benign
    artifacts: dict[str, bytes] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    _published: PublishedTargets = field(init=False, repr=False)
    _scans: KeptScans = field(init=False, repr=False)
    _running: bool = field(default=True, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self._published = PublishedTargets(self.repositories)
        self._scans = KeptScans(self._judge_as_it_is_now, self.artifacts)

    def _judge_as_it_is_now(self, content: bytes) -> Judgement:
        return self.judge(content)

    def client(self, *, retry: RetryPolicy = RetryPolicy()) -> Client:  # noqa: B008 - a frozen value
        """A client that calls this daemon. Closing it does not stop the daemon."""
        return _ConnectedClient(self, retry)

    def stop(self) -> None:
        """From now on every call raises UnavailableError. What was published and scanned is kept."""
        self._running = False

    def start(self) -> None:
        """Answers again."""
        self._running = True

    @property
    def targets(self) -> dict[str, dict[str, Target]]:
        """A copy of what is published: targets by path, by repository."""
        with self._lock:
            return self._published.targets()

    def answer(self, send: Send) -> Message:
        """Answers one attempt of a call.

        Raises:
            Refusal: the call fails.
        """
        if not self._running:
            raise away()
        request = send.request()
        received: Any = request if isinstance(request, Message) else list(request)
        rpc = send.rpc.path
        with self._lock:
            self.calls.append(Call(rpc.rpartition("/")[2], send.request_id))
            match rpc:
                case _rpcs.PUBLISH_TARGETS.path:
                    return self._published.publish(_copied(received))
                case _rpcs.GET_TARGET.path:
                    return self._published.get(received)
                case _rpcs.SCAN.path:
                    return self._scans.scan([_copied(message) for message in received])
                case _rpcs.CREATE_SCAN.path:
                    return self._scans.create(_copied(received))
                case _rpcs.GET_SCAN.path:
                    return self._scans.get(received)
                case _rpcs.LIST_SCANS.path:
                    return self._scans.page(received)
                case _rpcs.CHECK_HEALTH.path:
                    return Int32Value(value=_SERVING)
        raise unimplemented(rpc)


class _ConnectedClient(Client):
    """The client with this daemon at the other end of its connection."""

    def __init__(self, daemon: FakeDaemon, retry: RetryPolicy) -> None:
        identity = TlsIdentity(ca=b"", certificate=b"", key=b"")
        super().__init__(ClientSettings(_ADDRESS, identity, retry=retry), sleep=lambda seconds: None)
        self._daemon = daemon

    def _send(self, send: Send) -> Any:
        if self._closed:
            raise RuntimeError("The client is closed; construct another one.")
        try:
            return _copied(self._daemon.answer(send))
        except Refusal as error:
            raise wharfinger_error(error, address=_ADDRESS, request_id=send.request_id) from error

    def _watch(self, watch: Any) -> Iterator[Any]:
        error = unimplemented(_rpcs.WATCH_PUBLICATIONS.path)
        raise wharfinger_error(error, address=_ADDRESS, request_id=watch.request_id)


def _copied(message: Any) -> Any:
    """What arrives at the other end: only what the contract can carry."""
    return type(message).FromString(message.SerializeToString())
