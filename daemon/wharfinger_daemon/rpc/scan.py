"""``wharfinger.scan.v1.ScanService``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from wharfinger.scan.v1 import scan_pb2 as wire
from wharfinger.scan.v1 import scan_pb2_grpc
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.rpc.passage import current_call
from wharfinger_daemon.scanning.model import (
    ArtifactPath,
    ArtifactReference,
    ArtifactUrl,
    Classification,
    Finding,
    Scan,
    ScanState,
    Subject,
    SubjectKind,
)
from wharfinger_daemon.scanning.ports import ScanFilter
from wharfinger_daemon.scanning.service import ScanService

_CHUNK_BYTES = 1024 * 1024

_KINDS: dict[int, SubjectKind] = {
    wire.SUBJECT_KIND_PROJECT: SubjectKind.PROJECT,
    wire.SUBJECT_KIND_RELEASE: SubjectKind.RELEASE,
    wire.SUBJECT_KIND_FILE: SubjectKind.FILE,
}
_WIRE_KINDS = {kind: wire.SubjectKind.ValueType(number) for number, kind in _KINDS.items()}
_STATES: dict[int, ScanState] = {
    wire.SCAN_STATE_SUBMITTED: ScanState.SUBMITTED,
    wire.SCAN_STATE_CLAIMED: ScanState.CLAIMED,
    wire.SCAN_STATE_FINISHED: ScanState.FINISHED,
    wire.SCAN_STATE_ERROR: ScanState.ERROR,
}
_WIRE_STATES = {state: wire.ScanState.ValueType(number) for number, state in _STATES.items()}


class ScanServicer(scan_pb2_grpc.ScanServiceServicer):
    """Translates for the scanning domain."""

    def __init__(self, service: ScanService) -> None:
        self._service = service

    async def Scan(  # noqa: N802  # gRPC's name
        self, request_iterator: AsyncIterator[wire.ScanRequest], context: Any
    ) -> wire.ScanResponse:
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("part") != "header":
            raise _malformed("The first message of a scan must be its header.")
        current_call.get().named(first.header.request_id)
        subject = _subject(first.header.subject)
        scan, replayed = await self._service.scan_stream(
            subject, first.header.sha256, _chunks(request_iterator, context)
        )
        return wire.ScanResponse(scan=_scan(scan), replayed=replayed)

    async def CreateScan(  # noqa: N802
        self, request: wire.CreateScanRequest, context: Any
    ) -> wire.CreateScanResponse:
        current_call.get().named(request.request_id)
        scan, replayed = await self._service.create(
            _subject(request.subject), request.sha256, _reference(request.artifact)
        )
        return wire.CreateScanResponse(scan=_scan(scan), replayed=replayed)

    async def GetScan(self, request: wire.GetScanRequest, context: Any) -> wire.GetScanResponse:  # noqa: N802
        return wire.GetScanResponse(scan=_scan(await self._service.get(request.scan_id)))

    async def ListScans(self, request: wire.ListScansRequest, context: Any) -> wire.ListScansResponse:  # noqa: N802
        wanted = ScanFilter(
            project=request.project,
            sha256=request.sha256,
            classification=_classification(request.classification),
            state=_state(request.state),
        )
        page = await self._service.list_scans(wanted, request.page_size, request.page_token)
        return wire.ListScansResponse(scans=map(_scan, page.scans), next_page_token=page.next_page_token)


async def _chunks(requests: AsyncIterator[wire.ScanRequest], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise _malformed("After its header, a scan's stream has chunks alone.")
        if len(request.chunk) > _CHUNK_BYTES:
            raise _malformed(f"A chunk has at most {_CHUNK_BYTES} bytes.")
        yield request.chunk
    if context.cancelled():
        # A stream that the caller gave up half way can end like a whole one; what came is not the artifact.
        raise asyncio.CancelledError


def _subject(subject: wire.Subject) -> Subject:
    kind = _KINDS.get(subject.kind)
    if kind is None:
        raise InvalidRequestError("The subject has no kind that is known here.", reason=Reason.SUBJECT_INVALID)
    return Subject(kind, subject.project, subject.version, subject.filename)


def _reference(artifact: wire.ArtifactReference) -> ArtifactReference:
    location = artifact.WhichOneof("location")
    if location == "path":
        return ArtifactPath(artifact.path)
    if location == "url":
        return ArtifactUrl(artifact.url)
    raise _malformed("Say where the artifact is: set artifact.path or artifact.url.")


def _classification(number: int) -> Classification | None:
    if number not in wire.Classification.values():
        raise _malformed(f"There is no classification {number}.")
    return Classification(number) if number else None


def _state(number: int) -> ScanState | None:
    if number not in wire.ScanState.values():
        raise _malformed(f"There is no scan state {number}.")
    return _STATES.get(number)


def _malformed(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason=Reason.MALFORMED_REQUEST)


def _scan(scan: Scan) -> wire.Scan:
    message = wire.Scan(
        scan_id=scan.scan_id,
        subject=wire.Subject(
            kind=_WIRE_KINDS[scan.subject.kind],
            project=scan.subject.project,
            version=scan.subject.version,
            filename=scan.subject.filename,
        ),
        sha256=scan.sha256,
        rule_set=scan.rule_set,
        state=_WIRE_STATES[scan.state],
        error=scan.error,
        seconds=scan.seconds,
        submitted_at=_timestamp(scan.submitted_at),
    )
    if scan.finished_at is not None:
        message.finished_at.CopyFrom(_timestamp(scan.finished_at))
    if scan.verdict is not None:
        # The enums have the same numbers, which a test keeps so.
        message.classification = wire.Classification.ValueType(scan.verdict.classification)
        message.confidence = wire.Confidence.ValueType(scan.verdict.confidence)
        message.score = scan.verdict.score
        message.findings.extend(map(_finding, scan.verdict.findings))
    return message


def _finding(finding: Finding) -> wire.Finding:
    return wire.Finding(
        check=finding.check,
        check_version=finding.check_version,
        rule=finding.rule,
        member=finding.member,
        line=finding.line,
        excerpt=finding.excerpt,
        message=finding.message,
        weight=finding.weight,
    )


def _timestamp(instant: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(instant)
    return message
