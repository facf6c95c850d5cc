"""What every method does, once for both clients: builds the request, calls, checks and decodes the reply.

Both clients document the methods. ``timeout`` is in seconds, None for the default of the settings. ``request_id`` is
made here if it is empty; it names the request in the daemon's logs and stays the same when a call is made again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from google.protobuf.wrappers_pb2 import StringValue

from wharfinger.audit.v1 import audit_pb2
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2
from wharfinger_client import _rpcs, _wire, audit, health, metadata, scanning, signing
from wharfinger_client._artifact import Artifact, ArtifactSource
from wharfinger_client._rpcs import RequestT, ResponseT, Rpc
from wharfinger_client._steps import Block, Caller, Chance, Operation, Pause, T
from wharfinger_client._watching import PublicationWatch
from wharfinger_client.errors import DeadlineExceededError, Failure, ServerError
from wharfinger_client.settings import ClientSettings

_FIRST_POLL_SECONDS = 0.1
_LONGEST_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list. ``next_token`` is empty at the end."""

    items: tuple[T, ...]
    next_token: str


@dataclass(frozen=True)
class ScanFilter:
    """Which scans to list; see ``list_scans``."""

    project: str
    sha256: str
    classification: scanning.Classification | None
    state: scanning.ScanState | None
    page_size: int


class Operations:
    """The methods as operations. Holds no state but settings, and may be shared by threads."""

    def __init__(self, settings: ClientSettings, chance: Chance) -> None:
        self._deadlines = settings.deadlines
        self._chance = chance
        self._retry = settings.retry
        self._caller = Caller(settings.retry, chance)

    def sign(
        self, items: Iterable[signing.SigningItem], request_id: str, timeout: float | None
    ) -> Operation[tuple[signing.Signature, ...]]:
        messages = [_wire.signing_item_message(item) for item in items]
        request_id = request_id or _new_request_id()
        request = signing_pb2.SignRequest(items=messages, request_id=request_id)
        reply = yield from self._unary(_rpcs.SIGN, request, _seconds(timeout, self._deadlines.sign), request_id)
        _check_count(len(messages), len(reply.signatures), request_id)
        return tuple(_wire.signature(signature) for signature in reply.signatures)

    def sign_metadata(
        self, item: signing.SigningItem, request_id: str, timeout: float | None
    ) -> Operation[signing.Signature]:
        signatures = yield from self.sign([item], request_id, timeout)
        return signatures[0]

    def lint(
        self, items: Iterable[signing.SigningItem], timeout: float | None
    ) -> Operation[tuple[signing.LintResult, ...]]:
        messages = [_wire.signing_item_message(item) for item in items]
        request_id = _new_request_id()
        request = signing_pb2.LintRequest(items=messages)
        reply = yield from self._unary(_rpcs.LINT, request, _seconds(timeout, self._deadlines.sign), request_id)
        _check_count(len(messages), len(reply.results), request_id)
        return tuple(_wire.lint_result(result) for result in reply.results)

    def list_signing_keys(
        self, repository: str, page_token: str, timeout: float | None
    ) -> Operation[Page[signing.SigningKey]]:
        request = signing_pb2.ListSigningKeysRequest(repository=repository, page_token=page_token)
        reply = yield from self._unary(_rpcs.LIST_SIGNING_KEYS, request, _seconds(timeout, self._deadlines.read))
        return _page(_wire.signing_key, reply.keys, page_token, reply.next_page_token)

    def checkpoint(self, size: int, timeout: float | None) -> Operation[audit.Checkpoint]:
        request = audit_pb2.GetCheckpointRequest(size=size)
        reply = yield from self._unary(_rpcs.GET_CHECKPOINT, request, _seconds(timeout, self._deadlines.read))
        return audit.Checkpoint.read(reply.checkpoint)

    def inclusion_proof(self, leaf_index: int, timeout: float | None) -> Operation[audit.InclusionProof]:
        request = audit_pb2.GetInclusionProofRequest(leaf_index=leaf_index)
        reply = yield from self._unary(_rpcs.GET_INCLUSION_PROOF, request, _seconds(timeout, self._deadlines.read))
        return _wire.inclusion_proof(reply)

    def get_metadata(
        self, repository: str, role: str, version: int, if_none_match: str, timeout: float | None
    ) -> Operation[metadata.MetadataFile]:
        request = metadata_pb2.GetMetadataRequest(
            repository=repository, role=role, version=version, if_none_match=if_none_match
        )
        reply = yield from self._unary(_rpcs.GET_METADATA, request, _seconds(timeout, self._deadlines.read))
        return _wire.metadata_file(reply)

    def publish_targets(
        self,
        repository: str,
        add: Iterable[metadata.Target],
        remove: Iterable[str],
        request_id: str,
        timeout: float | None,
    ) -> Operation[metadata.PublicationResult]:
        request_id = request_id or _new_request_id()
        request = metadata_pb2.PublishTargetsRequest(
            repository=repository,
            add=[_wire.target_message(target) for target in add],
            remove=remove,
            request_id=request_id,
        )
        reply = yield from self._unary(
            _rpcs.PUBLISH_TARGETS, request, _seconds(timeout, self._deadlines.publish), request_id
        )
        return _wire.publication_result(reply)

    def get_target(self, repository: str, path: str, timeout: float | None) -> Operation[metadata.PublishedTarget]:
        request = metadata_pb2.GetTargetRequest(repository=repository, path=path)
        reply = yield from self._unary(_rpcs.GET_TARGET, request, _seconds(timeout, self._deadlines.read))
        return _wire.published_target(reply)

    def watch_publications(self, repository: str, after: int | None) -> PublicationWatch:
        return PublicationWatch(repository, after, self._retry, self._chance)

    def scan_file(
        self, source: ArtifactSource, subject: scanning.Subject, sha256: str, request_id: str, timeout: float | None
    ) -> Operation[scanning.ScanReply]:
        request_id = request_id or _new_request_id()
        artifact = Artifact(source)
        try:
            digest: str = yield Block(lambda: artifact.prepare(sha256))
            header = scan_pb2.ScanHeader(subject=_wire.subject_message(subject), sha256=digest, request_id=request_id)
            reply = yield from self._caller.call(
                _rpcs.SCAN,
                lambda: artifact.messages(header),
                timeout=_seconds(timeout, self._deadlines.scan),
                request_id=request_id,
            )
        except BaseException:
            # A file that cannot be read cancels the call from within; what the caller must hear of is the file.
            if artifact.failure is not None:
                raise artifact.failure from None
            raise
        finally:
            artifact.close()
        return _scan_reply(reply, digest, request_id)

    def create_scan(
        self,
        subject: scanning.Subject,
        sha256: str,
        artifact: scanning.ArtifactPath | scanning.ArtifactUrl,
        request_id: str,
        timeout: float | None,
    ) -> Operation[scanning.ScanReply]:
        request_id = request_id or _new_request_id()
        request = scan_pb2.CreateScanRequest(
            subject=_wire.subject_message(subject),
            sha256=sha256.lower(),
            artifact=_wire.artifact_message(artifact),
            request_id=request_id,
        )
        reply = yield from self._unary(
            _rpcs.CREATE_SCAN, request, _seconds(timeout, self._deadlines.submit), request_id
        )
        return _scan_reply(reply, sha256.lower(), request_id)

    def get_scan(self, scan_id: str, timeout: float | None) -> Operation[scanning.Scan]:
        request = scan_pb2.GetScanRequest(scan_id=scan_id)
        reply = yield from self._unary(_rpcs.GET_SCAN, request, _seconds(timeout, self._deadlines.read))
        return _wire.scan(reply.scan)

    def wait_for_scan(self, scan_id: str, timeout: float) -> Operation[scanning.Scan]:
        deadline = self._chance.monotonic() + timeout
        pause, remaining = _FIRST_POLL_SECONDS, timeout
        while True:
            scan = yield from self.get_scan(scan_id, min(remaining, self._deadlines.read))
            if scan.done:
                return scan
            # Spread, so that many who wait for scans do not ask in step.
            spread = pause * (0.75 + 0.5 * self._chance.random())
            if self._chance.monotonic() + spread >= deadline:
                raise DeadlineExceededError(
                    f"The scan {scan_id} was still {scan.state} after {timeout:g} seconds. It goes on; ask again.",
                    Failure(code="DEADLINE_EXCEEDED"),
                )
            yield Pause(spread)
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)
            remaining = deadline - self._chance.monotonic()

    def list_scans(self, chosen: ScanFilter, page_token: str, timeout: float | None) -> Operation[Page[scanning.Scan]]:
        request = scan_pb2.ListScansRequest(
            page_size=chosen.page_size,
            page_token=page_token,
            project=chosen.project,
            sha256=chosen.sha256,
            classification=_wire.CLASSIFICATIONS[chosen.classification],
            state=_wire.STATES[chosen.state or scanning.ScanState.UNKNOWN],
        )
        reply = yield from self._unary(_rpcs.LIST_SCANS, request, _seconds(timeout, self._deadlines.read))
        return _page(_wire.scan, reply.scans, page_token, reply.next_page_token)

    def check_health(self, service: str, timeout: float | None) -> Operation[health.ServingStatus]:
        request = StringValue(value=service)
        reply = yield from self._unary(_rpcs.CHECK_HEALTH, request, _seconds(timeout, self._deadlines.read))
        return _wire.serving_status(reply.value)

    def _unary(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, timeout: float, request_id: str = ""
    ) -> Operation[ResponseT]:
        return self._caller.call(rpc, lambda: request, timeout=timeout, request_id=request_id or _new_request_id())


def _seconds(timeout: float | None, default: float) -> float:
    return default if timeout is None else timeout


def _new_request_id() -> str:
    return str(uuid.uuid4())


def _page(decode: Callable[[RequestT], T], items: Sequence[RequestT], token: str, next_token: str) -> Page[T]:
    # A daemon that names the page just read as the next one would keep the caller for ever.
    if token and token == next_token:
        raise ServerError("The daemon answered with the page token that it was asked with; the list has no end.")
    return Page(tuple(decode(item) for item in items), next_token)


def _check_count(asked: int, answered: int, request_id: str) -> None:
    if asked != answered:
        message = f"The daemon answered {answered} results for {asked} items; none of them can be relied on."
        raise ServerError(message, Failure(request_id=request_id))


def _scan_reply(
    reply: scan_pb2.ScanResponse | scan_pb2.CreateScanResponse, digest: str, request_id: str
) -> scanning.ScanReply:
    if digest and reply.scan.sha256 != digest:
        message = f"The daemon answered with a scan of sha256 {reply.scan.sha256}, but was asked about {digest}."
        raise ServerError(message, Failure(request_id=request_id))
    return scanning.ScanReply(scan=_wire.scan(reply.scan), replayed=reply.replayed)
